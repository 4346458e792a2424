-- Where the chain of an imported device began is known from its first entry alone, so the entry keeps it; null for a chain that began
-- with nothing.
ALTER TABLE audit_entries ADD COLUMN first_previous BYTEA CHECK (length(first_previous) = 32);
