-- Campaigns, vouchers and redemptions in their whole form: kinds, budgets, limits, holds and batches. The tables are made anew
-- because their checks change; what is in them is kept.
CREATE TABLE campaigns_new (
    id              TEXT    PRIMARY KEY,
    display_name    TEXT    NOT NULL,
    partner         TEXT    NOT NULL,
    mode            TEXT    NOT NULL CHECK (mode IN ('live', 'test')),
    state           TEXT    NOT NULL CHECK (state IN ('DRAFT', 'ACTIVE', 'PAUSED', 'ENDED')),
    kind            TEXT    NOT NULL CHECK (kind IN ('FIXED_AMOUNT', 'PERCENT', 'STORED_VALUE', 'ENTITLEMENT')),
    currency        TEXT    NOT NULL,
    value_minor     INTEGER NOT NULL CHECK (value_minor >= 0),
    basis_points    INTEGER NOT NULL CHECK (basis_points BETWEEN 0 AND 10000),
    cap_minor       INTEGER NOT NULL CHECK (cap_minor >= 0),
    entitlement     TEXT    NOT NULL,
    budget_minor    INTEGER NOT NULL CHECK (budget_minor >= 0), -- 0 is no bound
    held_minor      INTEGER NOT NULL DEFAULT 0,
    redeemed_minor  INTEGER NOT NULL DEFAULT 0,
    voucher_limit   INTEGER NOT NULL CHECK (voucher_limit >= 1),
    issued_count    INTEGER NOT NULL DEFAULT 0,
    voucher_uses    INTEGER NOT NULL CHECK (voucher_uses >= 1),
    held_count      INTEGER NOT NULL DEFAULT 0,
    redeemed_count  INTEGER NOT NULL DEFAULT 0,
    proof_required  INTEGER NOT NULL CHECK (proof_required IN (0, 1)),
    rules           TEXT    NOT NULL, -- JSON; they do not change
    starts_at       INTEGER NOT NULL,
    expires_at      INTEGER NOT NULL,
    created_at      INTEGER NOT NULL,
    CONSTRAINT campaigns_issued_within_limit CHECK (issued_count BETWEEN 0 AND voucher_limit),
    CONSTRAINT campaigns_within_budget CHECK (held_minor >= 0 AND redeemed_minor >= 0 AND (budget_minor = 0 OR held_minor + redeemed_minor <= budget_minor)),
    CONSTRAINT campaigns_counts CHECK (held_count >= 0 AND redeemed_count >= 0),
    CONSTRAINT campaigns_worth CHECK (CASE kind
        WHEN 'PERCENT' THEN length(currency) = 3 AND basis_points > 0 AND cap_minor > 0
        WHEN 'ENTITLEMENT' THEN currency = '' AND entitlement <> '' AND budget_minor = 0
        ELSE length(currency) = 3 AND value_minor > 0 END)
);
INSERT INTO campaigns_new (id, display_name, partner, mode, state, kind, currency, value_minor, basis_points, cap_minor, entitlement,
        budget_minor, redeemed_minor, voucher_limit, issued_count, voucher_uses, redeemed_count, proof_required, rules, starts_at, expires_at, created_at)
    SELECT id, display_name, partner, mode, 'ACTIVE', 'FIXED_AMOUNT', currency, value_minor, 0, 0, '',
        0, redeemed_count * value_minor, voucher_limit, issued_count, 1, redeemed_count, 0, '{}', created_at, expires_at, created_at FROM campaigns;

CREATE TABLE vouchers_new (
    id            TEXT    PRIMARY KEY,
    campaign_id   TEXT    NOT NULL REFERENCES campaigns_new (id),
    account       TEXT    NOT NULL,
    device        TEXT    NOT NULL,
    code_hash     BLOB    NOT NULL UNIQUE,
    balance_minor INTEGER NOT NULL CHECK (balance_minor >= 0),
    max_uses      INTEGER NOT NULL CHECK (max_uses >= 1),
    used_count    INTEGER NOT NULL DEFAULT 0,
    held_count    INTEGER NOT NULL DEFAULT 0,
    created_at    INTEGER NOT NULL,
    CONSTRAINT vouchers_within_uses CHECK (used_count >= 0 AND held_count >= 0 AND used_count + held_count <= max_uses)
);
INSERT INTO vouchers_new (id, campaign_id, account, device, code_hash, balance_minor, max_uses, used_count, created_at)
    SELECT id, campaign_id, account, '', code_hash, 0, 1, CASE state WHEN 'REDEEMED' THEN 1 ELSE 0 END, created_at FROM vouchers;

CREATE TABLE redemptions_new (
    id           TEXT    PRIMARY KEY,
    voucher_id   TEXT    NOT NULL REFERENCES vouchers_new (id),
    campaign_id  TEXT    NOT NULL REFERENCES campaigns_new (id),
    state        TEXT    NOT NULL CHECK (state IN ('RESERVED', 'CONFIRMED', 'CANCELLED', 'EXPIRED', 'ROLLED_BACK')),
    amount_minor INTEGER NOT NULL CHECK (amount_minor >= 0),
    undone_minor INTEGER NOT NULL,
    merchant     TEXT    NOT NULL,
    payment      TEXT    NOT NULL,
    account      TEXT    NOT NULL,
    device       TEXT    NOT NULL,
    holder       TEXT    NOT NULL,
    assertion_id TEXT    UNIQUE,
    hold_expires_at INTEGER NOT NULL,
    release_at   INTEGER NOT NULL,
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL,
    CONSTRAINT redemptions_undone_within_amount CHECK (undone_minor BETWEEN 0 AND amount_minor)
);
INSERT INTO redemptions_new (id, voucher_id, campaign_id, state, amount_minor, undone_minor, merchant, payment, account, device, holder,
        assertion_id, hold_expires_at, release_at, created_at, updated_at)
    SELECT r.id, r.voucher_id, v.campaign_id, 'CONFIRMED', c.value_minor, 0, r.merchant, '', v.account, '',
        CASE r.merchant WHEN '' THEN '' ELSE 'merchant/' || r.merchant END, r.assertion_id, r.created_at, r.created_at, r.created_at, r.created_at
    FROM redemptions r JOIN vouchers v ON v.id = r.voucher_id JOIN campaigns c ON c.id = v.campaign_id;

DROP TABLE redemptions;
DROP TABLE vouchers;
DROP TABLE campaigns;
ALTER TABLE campaigns_new RENAME TO campaigns;
ALTER TABLE vouchers_new RENAME TO vouchers;
ALTER TABLE redemptions_new RENAME TO redemptions;
CREATE INDEX campaigns_of_partner ON campaigns (partner, id);
CREATE UNIQUE INDEX vouchers_of_campaign ON vouchers (campaign_id, id);
CREATE INDEX redemptions_of_voucher ON redemptions (voucher_id);
CREATE INDEX redemptions_held ON redemptions (release_at) WHERE state = 'RESERVED';

-- How much of a campaign's limits is used, by subject and period. The bound stands with the count so that the database keeps it.
CREATE TABLE voucher_meters (
    campaign_id TEXT    NOT NULL,
    limit_no    INTEGER NOT NULL,
    subject     TEXT    NOT NULL,
    period      TEXT    NOT NULL,
    used        INTEGER NOT NULL,
    bound       INTEGER NOT NULL,
    PRIMARY KEY (campaign_id, limit_no, subject, period),
    CONSTRAINT voucher_meters_within_bound CHECK (used BETWEEN 0 AND bound)
);

-- Batches of generated vouchers, and how many of each are stored.
CREATE TABLE voucher_batches (
    id          TEXT    PRIMARY KEY,
    campaign_id TEXT    NOT NULL REFERENCES campaigns (id),
    total       INTEGER NOT NULL CHECK (total >= 1),
    stored      INTEGER NOT NULL DEFAULT 0,
    created_at  INTEGER NOT NULL,
    CONSTRAINT voucher_batches_within_total CHECK (stored BETWEEN 0 AND total)
);

-- Who brought too many codes that do not exist.
CREATE TABLE voucher_lockouts (
    guesser      TEXT    PRIMARY KEY,
    locked_until INTEGER NOT NULL
);

-- Whose band a payment is made with: the last 26 characters of a device's name are its uid.
CREATE INDEX wearers_by_uid ON wearers (substr(device, length(device) - 25));
CREATE INDEX wearers_by_account ON wearers (account);
