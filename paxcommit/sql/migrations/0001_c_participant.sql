-- The participant's functions (R4, R14 to R20, R23, R31).

-- R14: a ROLLBACK, or ROLLBACK and BEGIN, by the user's own code took the setting away.
CREATE FUNCTION paxcommit.require_transaction(_txid text) RETURNS void
LANGUAGE plpgsql STABLE
AS $$
BEGIN
    IF current_setting('paxcommit.txid', true) IS DISTINCT FROM _txid THEN
        RAISE EXCEPTION 'this is not the transaction that paxcommit began for %', _txid
            USING ERRCODE = 'PX010',
            DETAIL = 'It was ended inside the block: what a COMMIT there wrote stays, outside of this transaction.';
    END IF;
END
$$;

CREATE FUNCTION paxcommit.wrote(_txid text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM paxcommit.require_transaction(_txid);
    RETURN pg_current_xact_id_if_assigned() IS NOT NULL;
END
$$;

-- Says why a participant's function found no epoch row, and raises.
CREATE FUNCTION paxcommit.refuse_branch(_digest text, _epoch bigint, _participant text)
RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    standing paxcommit.participant_epoch%ROWTYPE;
BEGIN
    SELECT * INTO standing FROM paxcommit.participant_epoch AS p
    WHERE p.epoch = _epoch AND p.stripe = 0;
    IF standing.digest = _digest AND standing.participant = _participant AND standing.retired THEN
        RAISE EXCEPTION 'epoch % is retired', _epoch USING ERRCODE = 'PX007';
    END IF;
    RAISE EXCEPTION 'this database is not participant % of epoch % (%)',
        _participant, _epoch, _digest USING ERRCODE = 'PX001',
        DETAIL = coalesce(format('Here stands participant %s of %s.',
                                 standing.participant, standing.digest), 'It takes part in none.');
END
$$;

-- Inserts the branch row, `kind` 'branch' right before PREPARE or 'only' right before a one-phase
-- COMMIT.  Returns 'written', or 'wrote nothing'.
CREATE FUNCTION paxcommit.branch(
    _digest text, _epoch bigint, _coordinator bigint, _seq bigint, _participant text, _kind text
) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    txid text := paxcommit.txid(_epoch, _coordinator, _seq);
BEGIN
    IF current_setting('paxcommit.txid', true) IS DISTINCT FROM txid THEN
        PERFORM paxcommit.require_transaction(txid);
    END IF;
    -- R15, trap 14: never null once the row is in, so it is asked before.
    IF pg_current_xact_id_if_assigned() IS NULL THEN
        IF _kind = 'only' THEN
            RETURN 'wrote nothing';
        END IF;
        RAISE EXCEPTION 'the transaction wrote nothing' USING ERRCODE = 'PX011',
            DETAIL = current_setting('transaction_isolation');
    END IF;
    -- Until the end of the transaction, which is next.  R16: from here on, and not before, a warning
    -- is PREPARE's own (trap 2), and nobody's settings hide it.
    PERFORM set_config('client_min_messages', 'warning', true)
            || set_config('lock_timeout', '2s', true);
    IF _kind = 'branch' AND current_setting('synchronous_commit') NOT IN ('on', 'remote_apply') THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;
    -- R19: plainly, for ON CONFLICT would jump the fence (trap 24c).  R31: FOR SHARE.
    INSERT INTO paxcommit.branch (epoch, coordinator, seq, participant, kind)
    SELECT p.epoch, _coordinator, _seq, p.participant, _kind
    FROM paxcommit.participant_epoch AS p
    WHERE p.epoch = _epoch AND p.stripe = pg_backend_pid() % 64
      AND p.digest = _digest AND p.participant = _participant AND NOT p.retired
    FOR SHARE OF p;
    IF NOT FOUND THEN
        PERFORM paxcommit.refuse_branch(_digest, _epoch, _participant);
    END IF;
    RETURN 'written';
END
$$;

-- Inserts a fence unless a row stands there, and returns the kind that does; 'retired' where none is
-- needed any more.  55P03 says that somebody else's row is in flight.  Any isolation level will do: under
-- the stronger ones a row that came meanwhile is 40001, never overlooked.
CREATE FUNCTION paxcommit.fence(
    _digest text, _epoch bigint, _coordinator bigint, _seq bigint, _participant text
) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET lock_timeout = '500ms'
AS $$
DECLARE
    is_retired boolean;
    standing text;
BEGIN
    PERFORM paxcommit.force_synchronous_commit();
    SELECT p.retired INTO is_retired FROM paxcommit.participant_epoch AS p
    WHERE p.epoch = _epoch AND p.stripe = pg_backend_pid() % 64
      AND p.digest = _digest AND p.participant = _participant
    FOR SHARE OF p;
    IF NOT FOUND THEN
        PERFORM paxcommit.refuse_branch(_digest, _epoch, _participant);
    END IF;
    IF NOT is_retired THEN
        INSERT INTO paxcommit.branch (epoch, coordinator, seq, participant, kind)
        VALUES (_epoch, _coordinator, _seq, _participant, 'fence')
        ON CONFLICT DO NOTHING;
    END IF;
    SELECT b.kind INTO standing FROM paxcommit.branch AS b
    WHERE b.epoch = _epoch AND b.coordinator = _coordinator AND b.seq = _seq
      AND b.participant = _participant;
    RETURN coalesce(standing, 'retired');
END
$$;

-- The ledger's answer: the kind of the visible row, or null.
CREATE FUNCTION paxcommit.branch_kind(
    _digest text, _epoch bigint, _coordinator bigint, _seq bigint, _participant text
) RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    standing text;
BEGIN
    SELECT b.kind INTO standing
    FROM paxcommit.participant_epoch AS p
    LEFT JOIN paxcommit.branch AS b
        ON b.epoch = p.epoch AND b.coordinator = _coordinator AND b.seq = _seq
       AND b.participant = p.participant
    WHERE p.epoch = _epoch AND p.stripe = 0
      AND p.digest = _digest AND p.participant = _participant;
    IF NOT FOUND THEN
        PERFORM paxcommit.refuse_branch(_digest, _epoch, _participant);
    END IF;
    RETURN standing;
END
$$;

-- Who keeps the fencing session waiting with a branch row in flight: 0 is a prepared transaction.
-- Only a holder of the branch table is named, and only to a session that waits there (trap 24c).
-- An owner who is no superuser needs pg_read_all_stats here and pg_signal_backend below.
CREATE FUNCTION paxcommit.fence_blockers(_fence_pid bigint)
RETURNS TABLE (pid bigint, backend_start bigint)
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    WITH l AS MATERIALIZED (SELECT * FROM pg_locks),
    inserting AS (
        SELECT l.virtualtransaction, l.pid FROM l
        WHERE l.locktype = 'relation' AND l.relation = 'paxcommit.branch'::regclass
          AND l.mode = 'RowExclusiveLock' AND l.granted
          AND l.database = (SELECT d.oid FROM pg_database AS d
                            WHERE d.datname = current_database())
    )
    SELECT coalesce(held.pid, 0)::bigint, (extract(epoch FROM s.backend_start) * 1000000)::bigint
    FROM l AS waiting
    JOIN inserting AS fencing ON fencing.pid = waiting.pid
    JOIN l AS held ON held.locktype = 'transactionid' AND held.granted
        AND held.transactionid = waiting.transactionid AND held.mode = 'ExclusiveLock'
    JOIN inserting AS blocking ON blocking.virtualtransaction = held.virtualtransaction
    LEFT JOIN pg_stat_activity AS s ON s.pid = held.pid
    WHERE waiting.pid = _fence_pid AND waiting.locktype = 'transactionid' AND NOT waiting.granted
$$;

-- Terminates a blocker if it is still the one; pid, start and wait are matched in one statement.
CREATE FUNCTION paxcommit.terminate_blocker(_fence_pid bigint, _pid bigint, _backend_start bigint)
RETURNS boolean
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(bool_or(pg_terminate_backend(b.pid::int)), false)
    FROM paxcommit.fence_blockers(_fence_pid) AS b
    WHERE b.pid <> 0 AND b.pid = _pid AND b.backend_start = _backend_start
$$;

CREATE FUNCTION paxcommit.record_damage(
    _txid text, _participant text, _what text, _detail text
) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    INSERT INTO paxcommit.damage (txid, participant, what, detail)
    VALUES (_txid, _participant, _what, _detail) ON CONFLICT DO NOTHING
$$;

CREATE FUNCTION paxcommit.damages()
RETURNS TABLE (txid text, participant text, what text, detail text, detected_at text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT d.txid, d.participant, d.what, d.detail,
           to_char(d.detected_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
    FROM paxcommit.damage AS d ORDER BY d.detected_at, d.txid, d.participant
$$;

CREATE FUNCTION paxcommit.participant_epochs()
RETURNS TABLE (epoch bigint, digest text, participant text, retired boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT p.epoch, p.digest, p.participant, p.retired
    FROM paxcommit.participant_epoch AS p WHERE p.stripe = 0 ORDER BY p.epoch
$$;

-- For `paxcommit init`, which runs as the owner: write-once, the first wins; the rows that stand
-- tell whether it was this one.
CREATE FUNCTION paxcommit.adopt_epoch(_epoch bigint, _digest text, _participant text)
RETURNS TABLE (epoch bigint, digest text, participant text, retired boolean)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    PERFORM paxcommit.require_fit_session();
    PERFORM paxcommit.force_synchronous_commit();
    INSERT INTO paxcommit.participant_epoch (epoch, stripe, digest, participant)
    SELECT _epoch, n, _digest, _participant FROM generate_series(0, 63) AS n
    ON CONFLICT DO NOTHING;
    RETURN QUERY SELECT p.epoch, p.digest, p.participant, p.retired
    FROM paxcommit.participant_epoch AS p WHERE p.epoch = _epoch AND p.stripe = 0;
END
$$;
