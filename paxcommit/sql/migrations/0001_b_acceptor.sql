-- The acceptor's functions (R8 to R13, R30); paxcommit/protocol/acceptor.py is their reference.

-- Says why a call found no gate, and raises.
CREATE FUNCTION paxcommit.refuse(_digest text, _identity text) RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    drawn paxcommit.acceptor%ROWTYPE;
BEGIN
    SELECT * INTO drawn FROM paxcommit.acceptor;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no acceptor lives in this database' USING ERRCODE = 'PX002';
    ELSIF drawn.identity::text <> _identity THEN
        RAISE EXCEPTION 'this is acceptor %, not %', drawn.identity, _identity
            USING ERRCODE = 'PX002';
    ELSIF NOT EXISTS (SELECT FROM paxcommit.myself) THEN
        RAISE EXCEPTION 'acceptor % is no longer where its identity was drawn', _identity
            USING ERRCODE = 'PX002',
            DETAIL = 'The server was promoted, restored, copied or upgraded by pg_upgrade.';
    END IF;
    RAISE EXCEPTION 'acceptor % does not know the epoch record %', _identity, _digest
        USING ERRCODE = 'PX001';
END
$$;

-- Whether the caller remembers a mark that we have not reached: then votes are lost (R13).  Never
-- reaches a new one, for that would hide the loss from the next caller.
CREATE FUNCTION paxcommit.notice_loss(_identity text, _remembered bigint) RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    IF _remembered > (SELECT m.mark FROM paxcommit.own_mark AS m) THEN
        UPDATE paxcommit.acceptor AS a SET lost_votes = true
        WHERE NOT a.lost_votes AND a.identity::text = _identity
          AND EXISTS (SELECT FROM paxcommit.myself);
    END IF;
END
$$;

-- Every call that draws a mark writes it down, last of all its locks but those it skips: no cycle.
CREATE FUNCTION paxcommit.reach_mark(_mark bigint) RETURNS void
LANGUAGE sql
AS $$
    UPDATE paxcommit.mark_stripe AS s SET mark = greatest(s.mark, _mark)
    WHERE s.stripe = pg_backend_pid() % 64
$$;

-- Both phases.  `_votes` is null in phase 1a.  One row per transaction.  `accepted` is null where the
-- caller knows it: in an accepted phase 2a.
CREATE FUNCTION paxcommit.vote(
    _phase integer, _digest text, _identity text, _remembered bigint,
    _peer_ids text[], _peer_marks bigint[],
    _coordinators bigint[], _seqs bigint[], _ballots bigint[], _votes text[]
) RETURNS TABLE (
    coordinator bigint, seq bigint, verdict text, promised bigint, accepted text, mark bigint
)
LANGUAGE plpgsql
AS $$
#variable_conflict use_column
DECLARE
    size integer := cardinality(_coordinators);
    written integer;
    gate record;
    drawn bigint := 0;
BEGIN
    PERFORM paxcommit.require_fit_session();
    IF current_setting('fsync') = 'off' OR current_setting('full_page_writes') = 'off' THEN
        RAISE EXCEPTION 'an acceptor needs fsync and full_page_writes; one is off'
            USING ERRCODE = 'PX005';
    END IF;
    IF size = 0 OR size <> cardinality(_seqs) OR size <> cardinality(_ballots)
       OR _phase = 2 AND size <> cardinality(_votes)
       -- R6: phase 1 is for ballots of 1 and above; 0 has one owner.
       OR (CASE _phase WHEN 1 THEN 1 ELSE 0 END) > ANY (_ballots)
       OR array_position(_ballots, NULL) > 0 OR array_position(_votes, NULL) > 0
       OR '{}' = ANY (_votes)
       OR size > 1 AND size <> (
            SELECT count(DISTINCT (q.c, q.s)) FROM unnest(_coordinators, _seqs) AS q (c, s))
    THEN
        RAISE EXCEPTION 'malformed bundle: empty, uneven, a transaction twice, or no ballot or vote'
            USING ERRCODE = 'PX003';
    END IF;
    PERFORM paxcommit.force_synchronous_commit();

    -- What is refused is not returned here, but below.
    RETURN QUERY
    WITH gate AS MATERIALIZED (
        -- R11, trap 23: in this very statement, and FOR SHARE, or a seal commits while an accept is
        -- in flight.  It writes, too, so even a refusal's mark is flushed.
        SELECT e.epoch, e.sealed, e.retired,
               CASE WHEN m.lost_votes OR _remembered > (SELECT o.mark FROM paxcommit.own_mark AS o)
                    THEN 0 ELSE nextval('paxcommit.mark') END AS mark
        FROM paxcommit.epoch AS e CROSS JOIN paxcommit.myself AS m
        WHERE e.digest = _digest AND m.identity = _identity
        FOR SHARE OF e
    )
    INSERT INTO paxcommit.transaction AS t (epoch, coordinator, seq, promised, accepted, mark)
    SELECT g.epoch, q.coordinator, q.seq, q.ballot,
           -- Null, and refused, if there is no vote in it.
           CASE _phase WHEN 1 THEN '{}' ELSE (
               SELECT jsonb_object_agg(v.key, jsonb_build_array(q.ballot, v.value))
               FROM jsonb_each_text(q.votes::jsonb) AS v) END,
           g.mark
    FROM gate AS g CROSS JOIN unnest(_coordinators, _seqs, _ballots, _votes)
        AS q (coordinator, seq, ballot, votes)
    WHERE g.mark > 0 AND NOT g.retired
      AND NOT (_phase = 2 AND g.sealed AND q.ballot = 0 AND NOT EXISTS (
          SELECT FROM paxcommit.transaction AS t
          WHERE t.epoch = g.epoch AND t.coordinator = q.coordinator AND t.seq = q.seq))
    -- Bundles in opposite orders deadlock (trap 24a).
    ORDER BY q.coordinator, q.seq
    ON CONFLICT (epoch, coordinator, seq) DO UPDATE
    -- R10: accepting raises the promise, too.
    SET promised = excluded.promised,
        accepted = t.accepted || excluded.accepted,
        mark = excluded.mark
    WHERE CASE _phase
        -- R9: strictly greater.
        WHEN 1 THEN excluded.promised > t.promised
        -- R10, trap 20: another value at this very ballot refuses the whole bundle.
        ELSE excluded.promised >= t.promised AND NOT EXISTS (
            SELECT FROM jsonb_each(excluded.accepted) AS v
            WHERE t.accepted -> v.key -> 0 = v.value -> 0
              AND t.accepted -> v.key <> v.value)
        END
    RETURNING t.coordinator, t.seq, 'ok', t.promised,
              CASE _phase WHEN 1 THEN t.accepted::text END, t.mark;

    GET DIAGNOSTICS written = ROW_COUNT;
    IF written < size THEN
        -- Our lock on the epoch row stands.
        SELECT e.epoch, e.retired,
               m.lost_votes OR _remembered > (SELECT o.mark FROM paxcommit.own_mark AS o) AS lost
        INTO gate
        FROM paxcommit.epoch AS e CROSS JOIN paxcommit.myself AS m
        WHERE e.digest = _digest AND m.identity = _identity;
        IF NOT FOUND THEN
            PERFORM paxcommit.refuse(_digest, _identity);
        END IF;
        IF gate.lost THEN
            PERFORM paxcommit.notice_loss(_identity, _remembered);
        ELSE
            drawn := currval('paxcommit.mark');
        END IF;
        RETURN QUERY
        SELECT q.coordinator, q.seq,
               CASE WHEN gate.lost THEN 'lost'
                    WHEN gate.retired THEN 'retired'
                    WHEN t.seq IS NULL THEN 'sealed'
                    WHEN _phase = 2 AND q.ballot >= t.promised THEN 'conflict'
                    ELSE 'outbid' END,
               coalesce(t.promised, -1), coalesce(t.accepted, '{}')::text, drawn
        FROM unnest(_coordinators, _seqs, _ballots) AS q (coordinator, seq, ballot)
        -- ON CONFLICT locked the row even though its guard refused, so this is what it saw.
        LEFT JOIN paxcommit.transaction AS t
            ON t.epoch = gate.epoch AND t.coordinator = q.coordinator AND t.seq = q.seq
        -- No other call has this mark.
        WHERE t.mark IS DISTINCT FROM drawn OR gate.lost OR gate.retired;
    ELSE
        drawn := currval('paxcommit.mark');
    END IF;

    IF drawn > 0 THEN
        PERFORM paxcommit.reach_mark(drawn);
    END IF;
    IF cardinality(_peer_ids) > 0 THEN
        -- Lazily, and never waiting: what is skipped now comes with a later call (R13).
        UPDATE paxcommit.peer_mark AS p SET mark = ahead.mark
        FROM (
            SELECT k.identity, q.mark
            FROM unnest(_peer_ids, _peer_marks) AS q (identity, mark)
            JOIN paxcommit.peer_mark AS k ON k.identity = q.identity
            WHERE q.mark >= k.mark + 16
            FOR UPDATE OF k SKIP LOCKED
        ) AS ahead
        WHERE p.identity = ahead.identity AND p.mark < ahead.mark;
    END IF;
END
$$;

CREATE FUNCTION paxcommit.phase1a(
    _digest text, _identity text, _remembered bigint, _peer_ids text[], _peer_marks bigint[],
    _coordinators bigint[], _seqs bigint[], _ballots bigint[]
) RETURNS TABLE (
    coordinator bigint, seq bigint, verdict text, promised bigint, accepted text, mark bigint
)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
-- Arrays of known length would be planned anew in every call.
SET plan_cache_mode = force_generic_plan
AS $$
BEGIN
    RETURN QUERY SELECT * FROM paxcommit.vote(
        1, _digest, _identity, _remembered, _peer_ids, _peer_marks,
        _coordinators, _seqs, _ballots, NULL);
END
$$;

CREATE FUNCTION paxcommit.phase2a(
    _digest text, _identity text, _remembered bigint, _peer_ids text[], _peer_marks bigint[],
    _coordinators bigint[], _seqs bigint[], _ballots bigint[], _votes text[]
) RETURNS TABLE (
    coordinator bigint, seq bigint, verdict text, promised bigint, accepted text, mark bigint
)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
-- Arrays of known length would be planned anew in every call.
SET plan_cache_mode = force_generic_plan
AS $$
BEGIN
    RETURN QUERY SELECT * FROM paxcommit.vote(
        2, _digest, _identity, _remembered, _peer_ids, _peer_marks,
        _coordinators, _seqs, _ballots, _votes);
END
$$;

-- Learning merely reads, so its mark is that of the row: the sequence itself may be ahead of what
-- is flushed.  One row for each transaction asked for; promised is -1 where nothing is known.
CREATE FUNCTION paxcommit.learn(
    _digest text, _identity text, _coordinators bigint[], _seqs bigint[]
) RETURNS TABLE (
    coordinator bigint, seq bigint, verdict text, promised bigint, accepted text, mark bigint
)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
-- Arrays of known length would be planned anew in every call.
SET plan_cache_mode = force_generic_plan
AS $$
BEGIN
    RETURN QUERY
    SELECT q.c, q.s, CASE WHEN m.lost_votes THEN 'lost'
                       WHEN e.retired AND t.epoch IS NULL THEN 'retired'
                       ELSE 'learned' END,
           coalesce(t.promised, -1), coalesce(t.accepted, '{}')::text, coalesce(t.mark, 0)
    FROM paxcommit.epoch AS e
    CROSS JOIN paxcommit.myself AS m
    CROSS JOIN unnest(_coordinators, _seqs) AS q (c, s)
    -- OFFSET keeps it a look-up of one row, for a plan made while the table was empty stays.
    LEFT JOIN LATERAL (
        SELECT * FROM paxcommit.transaction AS r
        WHERE r.epoch = e.epoch AND r.coordinator = q.c AND r.seq = q.s OFFSET 0
    ) AS t ON true
    WHERE e.digest = _digest AND m.identity = _identity;
    IF NOT FOUND THEN
        PERFORM paxcommit.refuse(_digest, _identity);
    END IF;
END
$$;

-- Stores marks exactly, and tells what is kept: one row about itself, one about each other acceptor.
-- A mark of its own among the peers' is one that the caller remembers.
CREATE FUNCTION paxcommit.hello(
    _digest text, _identity text, _peer_ids text[], _peer_marks bigint[]
) RETURNS TABLE (
    about text, mark bigint, version bigint, sealed boolean, retired boolean, lost_votes boolean
)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    PERFORM paxcommit.require_fit_session();
    PERFORM paxcommit.force_synchronous_commit();
    PERFORM paxcommit.notice_loss(
        _identity,
        (SELECT max(q.mark) FROM unnest(_peer_ids, _peer_marks) AS q (identity, mark)
         WHERE q.identity = _identity));
    INSERT INTO paxcommit.peer_mark AS p (identity, mark)
    SELECT q.identity, max(q.mark)
    FROM unnest(_peer_ids, _peer_marks) AS q (identity, mark)
    CROSS JOIN paxcommit.myself AS m
    WHERE m.identity = _identity AND q.identity <> _identity
    GROUP BY q.identity ORDER BY q.identity
    ON CONFLICT (identity) DO UPDATE SET mark = excluded.mark WHERE excluded.mark > p.mark;

    -- FOR SHARE writes, so that the mark told here is flushed with this call's commit.
    RETURN QUERY
    WITH gate AS MATERIALIZED (
        SELECT e.sealed, e.retired, m.lost_votes
        FROM paxcommit.epoch AS e CROSS JOIN paxcommit.myself AS m
        WHERE e.digest = _digest AND m.identity = _identity
        FOR SHARE OF e
    ), known AS (
        SELECT _identity AS about, o.mark FROM paxcommit.own_mark AS o
        UNION ALL
        SELECT p.identity, p.mark FROM paxcommit.peer_mark AS p
    )
    SELECT k.about, k.mark, v.version::bigint, g.sealed, g.retired, g.lost_votes
    FROM gate AS g CROSS JOIN known AS k CROSS JOIN paxcommit.meta AS v;
    IF NOT FOUND THEN
        PERFORM paxcommit.refuse(_digest, _identity);
    END IF;
END
$$;

-- Which of these incarnations hold their shared lock here (R26).  Reads, never tries the lock.
CREATE FUNCTION paxcommit.holders(_digest text, _identity text, _coordinators bigint[])
RETURNS TABLE (coordinator bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM paxcommit.epoch AS e CROSS JOIN paxcommit.myself AS m
        WHERE e.digest = _digest AND m.identity = _identity
    ) THEN
        PERFORM paxcommit.refuse(_digest, _identity);
    END IF;
    RETURN QUERY
    SELECT DISTINCT k.held
    FROM (
        SELECT (l.classid::bigint << 32) | l.objid::bigint AS held
        FROM pg_locks AS l
        WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.mode = 'ShareLock' AND l.granted
          AND l.pid IS NOT NULL
          AND l.database = (SELECT d.oid FROM pg_database AS d
                            WHERE d.datname = current_database())
    ) AS k
    WHERE k.held = ANY (_coordinators);
END
$$;

-- Add-only (R2).  It advances the mark as a vote does: a registration must not be lost unnoticed.
CREATE FUNCTION paxcommit.register_participant(
    _digest text, _identity text, _name text, _system_identifier bigint, _database text,
    OUT verdict text, OUT mark bigint
)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    lost boolean;
    standing paxcommit.participant%ROWTYPE;
BEGIN
    PERFORM paxcommit.require_fit_session();
    PERFORM paxcommit.force_synchronous_commit();
    SELECT m.lost_votes INTO lost
    FROM paxcommit.epoch AS e CROSS JOIN paxcommit.myself AS m
    WHERE e.digest = _digest AND m.identity = _identity
    FOR SHARE OF e;
    IF NOT FOUND THEN
        PERFORM paxcommit.refuse(_digest, _identity);
    ELSIF lost THEN
        RAISE EXCEPTION 'acceptor % has lost votes', _identity USING ERRCODE = 'PX006';
    END IF;
    mark := nextval('paxcommit.mark');
    PERFORM paxcommit.reach_mark(mark);
    INSERT INTO paxcommit.participant (name, system_identifier, database)
    VALUES (_name, _system_identifier, _database) ON CONFLICT DO NOTHING;
    IF FOUND THEN
        verdict := 'registered';
        RETURN;
    END IF;
    SELECT * INTO STRICT standing FROM paxcommit.participant AS p
    WHERE p.name = _name OR p.system_identifier = _system_identifier AND p.database = _database
    ORDER BY p.name = _name DESC LIMIT 1;
    verdict := CASE
        WHEN (standing.name, standing.system_identifier, standing.database)
             = (_name, _system_identifier, _database) THEN 'present'
        ELSE format('conflict: participant %s is registered as database %s of server %s',
                    standing.name, standing.database, standing.system_identifier)
        END;
END
$$;

CREATE FUNCTION paxcommit.participants(_digest text, _identity text)
RETURNS TABLE (name text, system_identifier bigint, database text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    lost boolean;
BEGIN
    SELECT m.lost_votes INTO lost
    FROM paxcommit.epoch AS e CROSS JOIN paxcommit.myself AS m
    WHERE e.digest = _digest AND m.identity = _identity;
    IF NOT FOUND THEN
        PERFORM paxcommit.refuse(_digest, _identity);
    ELSIF lost THEN
        RAISE EXCEPTION 'acceptor % has lost votes', _identity USING ERRCODE = 'PX006';
    END IF;
    RETURN QUERY
    SELECT p.name, p.system_identifier, p.database FROM paxcommit.participant AS p ORDER BY p.name;
END
$$;


-- For `paxcommit init`, which runs as the owner -----------------------------------------------

CREATE FUNCTION paxcommit.records() RETURNS TABLE (record text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$ SELECT e.record FROM paxcommit.epoch AS e ORDER BY e.epoch $$;

-- Draws this database's identity as an acceptor once, and tells it.
CREATE FUNCTION paxcommit.claim_identity(
    OUT identity text, OUT system_identifier bigint, OUT database text
)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    PERFORM paxcommit.force_synchronous_commit();
    INSERT INTO paxcommit.acceptor (identity, system_identifier, timeline, database, database_oid)
    SELECT gen_random_uuid(), c.system_identifier, left(pg_walfile_name(pg_current_wal_lsn()), 8),
           d.datname, d.oid
    FROM pg_control_system() AS c, pg_database AS d WHERE d.datname = current_database()
    ON CONFLICT DO NOTHING;
    SELECT a.identity::text, a.system_identifier, a.database::text
    INTO STRICT identity, system_identifier, database FROM paxcommit.acceptor AS a;
    IF NOT EXISTS (SELECT FROM paxcommit.myself) THEN
        PERFORM paxcommit.refuse('', identity);
    END IF;
END
$$;

-- Write-once, the first wins; returns the record that stands (R2).
CREATE FUNCTION paxcommit.write_record(_record text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    content jsonb := _record::jsonb;
    standing text;
BEGIN
    PERFORM paxcommit.require_fit_session();
    PERFORM paxcommit.force_synchronous_commit();
    IF NOT EXISTS (
        SELECT FROM paxcommit.myself AS m
        CROSS JOIN jsonb_array_elements(content -> 'acceptors') AS a
        WHERE a ->> 'identity' = m.identity
    ) THEN
        RAISE EXCEPTION 'the epoch record does not name the acceptor of this database'
            USING ERRCODE = 'PX002';
    END IF;
    INSERT INTO paxcommit.epoch (epoch, digest, record)
    SELECT (content ->> 'epoch')::bigint,
           left(encode(sha256(convert_to(_record, 'UTF8')), 'hex'), 32), _record
    ON CONFLICT DO NOTHING;
    SELECT e.record INTO STRICT standing FROM paxcommit.epoch AS e
    WHERE e.epoch = (content ->> 'epoch')::bigint;
    INSERT INTO paxcommit.peer_mark (identity, mark)
    SELECT a ->> 'identity', 0
    FROM jsonb_array_elements(standing::jsonb -> 'acceptors') AS a
    WHERE NOT EXISTS (SELECT FROM paxcommit.myself AS m WHERE m.identity = a ->> 'identity')
    ORDER BY 1
    ON CONFLICT DO NOTHING;
    RETURN standing;
END
$$;
