-- What testing::contracts::sql reads. Instants are in UTC: run it in a session of that zone.
CREATE TABLE contract_values (
    id bigint NOT NULL,
    small smallint,
    whole integer,
    big bigint,
    name varchar(100),
    changed timestamptz,
    changed_local timestamp,
    born date,
    truth boolean
);
INSERT INTO contract_values (id, small, whole, big, name, changed, changed_local, born, truth) VALUES
    (1, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
    (2, -32768, -2147483648, -9223372036854775808, 'O''Brien', '2024-06-15 03:30:00.000001', '2024-06-15 03:30:00.000001', '2024-02-29', TRUE),
    (3, 32767, 2147483647, 9223372036854775807, 'back\slash', '2024-06-15 03:30:00.000001', '2024-06-15 03:30:00.000001', '1901-01-01', FALSE),
    (4, 0, 0, 0, 'Žofie 🦦 $1 "quoted" {list}', '2024-06-15 03:30:00.000002', '2024-06-15 03:30:00.000002', '2024-12-31', TRUE),
    (5, 1, 1, 1, '', '2024-11-03 05:30:00.000000', '2024-11-03 05:30:00.000000', '1970-01-01', FALSE),
    (6, 2, 2, 2, '''; DROP TABLE contract_values; --', '1969-12-31 23:59:59.999999', '1969-12-31 23:59:59.999999', '1969-12-31', TRUE);
