-- Tables.  Owned by whoever ran `paxcommit init`; everybody else goes through the functions.
-- The same schema stands in every database, whether it hosts an acceptor, a participant or both.

CREATE SCHEMA paxcommit;
COMMENT ON SCHEMA paxcommit IS 'Paxos Commit across PostgreSQL databases; one cluster per database';

CREATE TABLE paxcommit.meta (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    version integer NOT NULL,
    oldest_code integer NOT NULL
);
COMMENT ON COLUMN paxcommit.meta.oldest_code IS 'The oldest schema version whose code can work with this one';


-- The acceptor --------------------------------------------------------------------------------

CREATE TABLE paxcommit.acceptor (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    identity uuid NOT NULL,
    system_identifier bigint NOT NULL,
    timeline text NOT NULL,
    database name NOT NULL,
    -- CREATE DATABASE ... TEMPLATE copies all of the above within one server; the oid is new.
    database_oid oid NOT NULL,
    lost_votes boolean NOT NULL DEFAULT false
);
COMMENT ON COLUMN paxcommit.acceptor.lost_votes IS 'Somebody remembers a mark above ours: refuse for ever (R13)';

-- The acceptor, as long as it is where its identity was drawn (R13, trap 22).  The timeline is read
-- from the WAL's own name, for the control file lags behind a promotion.
CREATE VIEW paxcommit.myself AS
SELECT a.identity::text AS identity, a.lost_votes
FROM paxcommit.acceptor AS a, pg_control_system() AS c
WHERE a.system_identifier = c.system_identifier
  AND a.timeline = CASE WHEN pg_is_in_recovery() THEN ''
                        ELSE left(pg_walfile_name(pg_current_wal_lsn()), 8) END
  AND a.database = current_database()
  AND a.database_oid = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database());

-- Advanced by every call that votes; others remember it, so a copy that was put back shows (trap 24b).
CREATE SEQUENCE paxcommit.mark AS bigint MINVALUE 1 NO CYCLE;

-- What was reached for good.  Not the sequence's own value: replaying the log lifts that by up to 32
-- over what was ever given out, and so over the loss of as many votes.  Striped by backend, so that
-- calls do not wait for each other.
CREATE TABLE paxcommit.mark_stripe (
    stripe integer PRIMARY KEY,
    mark bigint NOT NULL
) WITH (fillfactor = 20);
INSERT INTO paxcommit.mark_stripe SELECT n, 0 FROM generate_series(0, 63) AS n;

CREATE VIEW paxcommit.own_mark AS SELECT max(s.mark) AS mark FROM paxcommit.mark_stripe AS s;

CREATE TABLE paxcommit.peer_mark (
    identity text PRIMARY KEY,
    mark bigint NOT NULL
) WITH (fillfactor = 50);
COMMENT ON TABLE paxcommit.peer_mark IS 'What this acceptor keeps of the other acceptors'' marks (R13)';

CREATE TABLE paxcommit.epoch (
    epoch bigint PRIMARY KEY CHECK (epoch >= 1),
    digest text NOT NULL UNIQUE
        CHECK (digest = left(encode(sha256(convert_to(record, 'UTF8')), 'hex'), 32)),
    record text NOT NULL,
    sealed boolean NOT NULL DEFAULT false,
    retired boolean NOT NULL DEFAULT false
);
COMMENT ON TABLE paxcommit.epoch IS 'Write-once epoch records (R2), and how far each epoch has come (R30)';

-- One row holds a transaction's promise and all its instances (R8).  `accepted` maps an instance to
-- [ballot, value]: {"*": [0, "J:billing,orders"], "orders": [0, "P"]}.  `mark` is that of the call
-- which wrote the row last: a reader may pass it on, for a row that is visible is durable.
CREATE TABLE paxcommit.transaction (
    epoch bigint NOT NULL,
    coordinator bigint NOT NULL,
    seq bigint NOT NULL,
    promised bigint NOT NULL,
    accepted jsonb NOT NULL,
    mark bigint NOT NULL,
    CONSTRAINT paxcommit_transaction_pkey PRIMARY KEY (epoch, coordinator, seq)
);

CREATE TABLE paxcommit.participant (
    name text PRIMARY KEY,
    system_identifier bigint NOT NULL,
    database text NOT NULL,
    UNIQUE (system_identifier, database)
);
COMMENT ON TABLE paxcommit.participant IS 'The registry of participants, add-only, kept by acceptors (R2)';


-- The participant -----------------------------------------------------------------------------

-- Each epoch 64 times over: a branch locks the row of its backend's stripe, and its prepared
-- transaction keeps that lock.  On a single row every commit would add a multixact with all others
-- in flight as members, which every table of the database has to be vacuumed for in the end.
CREATE TABLE paxcommit.participant_epoch (
    epoch bigint NOT NULL CHECK (epoch >= 1),
    stripe integer NOT NULL CHECK (stripe BETWEEN 0 AND 63),
    digest text NOT NULL,
    participant text NOT NULL,
    retired boolean NOT NULL DEFAULT false,
    PRIMARY KEY (epoch, stripe)
) WITH (fillfactor = 20);
COMMENT ON TABLE paxcommit.participant_epoch IS 'Epochs that this participant takes part in (R31)';

CREATE TABLE paxcommit.branch (
    epoch bigint NOT NULL,
    coordinator bigint NOT NULL,
    seq bigint NOT NULL,
    participant text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('branch', 'only', 'fence')),
    created timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT paxcommit_branch_pkey PRIMARY KEY (epoch, coordinator, seq, participant)
);
COMMENT ON TABLE paxcommit.branch IS 'The ledger: committed branches, and fences against late ones (R19, R20)';

CREATE TABLE paxcommit.damage (
    txid text NOT NULL
        CHECK (txid ~ '^[1-9][0-9]{0,8}-[0-7][0-9a-f]{15}-[1-9][0-9]{0,17}$'),
    participant text NOT NULL,
    what text NOT NULL,
    detail text NOT NULL,
    detected_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (txid, participant, what)
);
COMMENT ON TABLE paxcommit.damage IS 'Where a database contradicted a decision; for the person on call';


-- Common to both ------------------------------------------------------------------------------

CREATE FUNCTION paxcommit.schema_version(OUT version bigint, OUT oldest_code bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$ SELECT m.version::bigint, m.oldest_code::bigint FROM paxcommit.meta AS m $$;

-- The spelling of a transaction id, as in paxcommit/ids.py.
CREATE FUNCTION paxcommit.txid(_epoch bigint, _coordinator bigint, _seq bigint) RETURNS text
LANGUAGE sql IMMUTABLE
-- Cast to text first: what joins a number and a text is merely STABLE, and would not be inlined.
AS $$ SELECT _epoch::text || '-' || lpad(to_hex(_coordinator), 16, '0') || '-' || _seq::text $$;

-- A SET clause of the calling function would be undone before its commit (trap 19).
CREATE FUNCTION paxcommit.force_synchronous_commit() RETURNS void
LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    IF current_setting('synchronous_commit') NOT IN ('on', 'remote_apply') THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;
END
$$;

-- Under a stronger level a statement may work on a snapshot older than the lock it waited for (R11).
CREATE FUNCTION paxcommit.require_fit_session() RETURNS void
LANGUAGE plpgsql STABLE
AS $$
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'paxcommit needs READ COMMITTED here, not %',
            current_setting('transaction_isolation') USING ERRCODE = 'PX004';
    ELSIF pg_is_in_recovery() THEN
        RAISE EXCEPTION 'this server is a standby' USING ERRCODE = 'PX002';
    END IF;
END
$$;
