-- Taps that terminals took without a connection. response_digest is then what names the tap, and a tap is booked once.
ALTER TABLE payments ADD COLUMN tapped_at BIGINT;
CREATE UNIQUE INDEX payments_of_offline_tap ON payments (response_digest) WHERE offline = 1;
