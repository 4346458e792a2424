-- What the operator lets one partner register in place of what the configuration says for all; null where it is the configuration's.
ALTER TABLE partner_usage ADD COLUMN model_limit INTEGER CHECK (model_limit >= 0);
ALTER TABLE partner_usage ADD COLUMN lot_limit INTEGER CHECK (lot_limit >= 0);
ALTER TABLE partner_usage ADD COLUMN device_limit INTEGER CHECK (device_limit >= 0);
