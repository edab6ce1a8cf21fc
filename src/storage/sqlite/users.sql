-- Who may log in, and what they may do.

-- ---- users of the service ------------------------------------------------------------------------------------------
-- rules          as ACL LIST shows them; a password is its SHA-256 behind a #
-- id             tells a user from one of the same name that was removed before it; 0 is that of `default`
-- Without a row `default` may do everything, and has the password of EMPTYSERVER_PASSWORD.
CREATE TABLE user (
    name  BLOB PRIMARY KEY,
    id    INTEGER NOT NULL,
    rules BLOB NOT NULL
) WITHOUT ROWID;

CREATE VIEW user_rules AS SELECT CAST(name AS TEXT) AS name, CAST(rules AS TEXT) AS rules FROM user;
