-- Partners' own event types, and how many events of each were published on a day of UTC.
CREATE TABLE custom_event_types (
    partner        TEXT    NOT NULL,
    id             TEXT    NOT NULL,
    display_name   TEXT    NOT NULL,
    payload_schema TEXT    NOT NULL,
    daily_quota    INTEGER NOT NULL CHECK (daily_quota > 0),
    revision       INTEGER NOT NULL,
    created_at     INTEGER NOT NULL,
    updated_at     INTEGER NOT NULL,
    PRIMARY KEY (partner, id)
) STRICT;
CREATE TABLE custom_event_counts (
    partner   TEXT    NOT NULL,
    type      TEXT    NOT NULL,
    mode      TEXT    NOT NULL,
    day       TEXT    NOT NULL,
    published INTEGER NOT NULL CHECK (published > 0),
    PRIMARY KEY (partner, type, mode, day)
) STRICT;
CREATE INDEX custom_event_counts_of_day ON custom_event_counts (day);
