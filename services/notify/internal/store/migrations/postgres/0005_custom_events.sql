-- Partners' own event types, and how many events of each were published on a day of UTC.
CREATE TABLE custom_event_types (
    partner        TEXT    NOT NULL,
    id             TEXT    NOT NULL,
    display_name   TEXT    NOT NULL,
    payload_schema TEXT    NOT NULL,
    daily_quota    BIGINT NOT NULL CHECK (daily_quota > 0),
    revision       BIGINT NOT NULL,
    created_at     BIGINT NOT NULL,
    updated_at     BIGINT NOT NULL,
    PRIMARY KEY (partner, id)
);
CREATE TABLE custom_event_counts (
    partner   TEXT    NOT NULL,
    type      TEXT    NOT NULL,
    mode      TEXT    NOT NULL,
    day       TEXT    NOT NULL,
    published BIGINT NOT NULL CHECK (published > 0),
    PRIMARY KEY (partner, type, mode, day)
);
CREATE INDEX custom_event_counts_of_day ON custom_event_counts (day);
