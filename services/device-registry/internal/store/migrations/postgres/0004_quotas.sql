-- What the operator lets one partner register in place of what the configuration says for all; null where it is the configuration's.
ALTER TABLE partner_usage ADD COLUMN model_limit BIGINT CHECK (model_limit >= 0);
ALTER TABLE partner_usage ADD COLUMN lot_limit BIGINT CHECK (lot_limit >= 0);
ALTER TABLE partner_usage ADD COLUMN device_limit BIGINT CHECK (device_limit >= 0);
