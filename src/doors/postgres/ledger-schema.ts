/**
 * The step of the schema that makes a ledger. What is decided on rows that others change at the same time
 * is done in functions: each of their statements sees what was committed up to then, and the whole is
 * still one statement to the client, and one transaction.
 */
export function ledgerTables(schema: string): string {
  return [tablesIn(schema), openingIn(schema), reservingIn(schema), changingIn(schema)].join(
    "\n\n",
  );
}

function tablesIn(schema: string): string {
  return `-- A row for each order. None is ever removed: what became known later stands in changes.
CREATE TABLE ${schema}.ledger (
  id text COLLATE "C" PRIMARY KEY,
  position bigint GENERATED ALWAYS AS IDENTITY,
  -- ISO 8601 in UTC, which sorts as text.
  reserved_at text COLLATE "C" NOT NULL,
  state text NOT NULL,
  amount numeric,
  unit text COLLATE "C",
  -- Each as the JSON of its name and value.
  tags text[] COLLATE "C" NOT NULL,
  job text COLLATE "C",
  entry text NOT NULL,
  changes text[] NOT NULL DEFAULT '{}'
);
CREATE INDEX ledger_reserved ON ${schema}.ledger (reserved_at, position);
CREATE INDEX ledger_job ON ${schema}.ledger (job, position) WHERE job IS NOT NULL;

-- What the entries of a time and of tags come to, kept from when a limit first asked for it.
CREATE TABLE ${schema}.ledger_sums (
  scope text COLLATE "C" PRIMARY KEY,
  from_at text COLLATE "C",
  to_at text COLLATE "C",
  tags text[] COLLATE "C" NOT NULL,
  units text[] COLLATE "C" NOT NULL,
  rates numeric[] NOT NULL,
  charged numeric NOT NULL,
  reserved numeric NOT NULL,
  unknown numeric NOT NULL
);

-- An amount in the unit of sums, to the billionth.
CREATE FUNCTION ${schema}.ledger_part(amount numeric, unit text, units text[], rates numeric[])
RETURNS numeric LANGUAGE sql IMMUTABLE AS $ledger$
  SELECT coalesce(round(amount * rates[array_position(units, unit)], 9), 0)
$ledger$;`;
}

/** Whether an entry counts in sums, by its time and its tags. */
const isAbout = (at: string, tags: string): string =>
  `(sums.from_at IS NULL OR ${at} >= sums.from_at)
      AND (sums.to_at IS NULL OR ${at} < sums.to_at) AND sums.tags <@ ${tags}`;

/** Whoever counts shares a lock; whoever makes sums of what was counted before has it alone. */
function openingIn(schema: string): string {
  const lock = `hashtextextended('gpt-image-client ${schema} ledger', 0)`;
  const isMissing = `EXISTS (SELECT FROM jsonb_to_recordset(scopes) AS each (scope text)
    WHERE NOT EXISTS (SELECT FROM ${schema}.ledger_sums AS known WHERE known.scope = each.scope))`;
  const total = (state: string) =>
    `coalesce(sum(${schema}.ledger_part(entry.amount, entry.unit, sums.units, sums.rates))
        FILTER (WHERE entry.state = '${state}'), 0)`;
  return `CREATE FUNCTION ${schema}.ledger_open(scopes jsonb) RETURNS void LANGUAGE plpgsql AS $ledger$
DECLARE sums record;
BEGIN
  -- Its only snapshot is of before the lock, without what others have counted since.
  IF current_setting('transaction_isolation') = 'repeatable read' THEN
    RAISE EXCEPTION 'A ledger takes transactions that are READ COMMITTED or SERIALIZABLE, and not REPEATABLE READ'
      USING ERRCODE = 'feature_not_supported';
  END IF;
  IF NOT ${isMissing} THEN
    PERFORM pg_advisory_xact_lock_shared(${lock});
    IF NOT ${isMissing} THEN RETURN; END IF;
    -- Dropped in between. Two that share the lock must not both wait to have it alone: once more.
    RAISE EXCEPTION 'The sums of a ledger were dropped' USING ERRCODE = 'serialization_failure';
  END IF;
  PERFORM pg_advisory_xact_lock(${lock});
  -- Each entry is held against all of them: those of hours long past go, and would be made again.
  DELETE FROM ${schema}.ledger_sums AS old WHERE old.to_at <
    to_char(now() AT TIME ZONE 'UTC' - interval '40 days', 'YYYY-MM-DD"T"HH24:MI:SS');
  FOR sums IN SELECT * FROM jsonb_to_recordset(scopes) AS each
    (scope text, from_at text, to_at text, tags text[], units text[], rates numeric[])
  LOOP
    INSERT INTO ${schema}.ledger_sums
    SELECT sums.scope, sums.from_at, sums.to_at, sums.tags, sums.units, sums.rates,
        ${total("charged")}, ${total("reserved")}, ${total("unknown")}
      FROM ${schema}.ledger AS entry
      WHERE ${isAbout("entry.reserved_at", "entry.tags")}
      ON CONFLICT DO NOTHING;
  END LOOP;
END
$ledger$;

CREATE FUNCTION ${schema}.ledger_sums_of(wanted jsonb)
RETURNS TABLE (charged text, reserved text, unknown text) LANGUAGE plpgsql AS $ledger$
BEGIN
  PERFORM ${schema}.ledger_open(wanted);
  RETURN QUERY SELECT sums.charged::text, sums.reserved::text, sums.unknown::text
    FROM ${schema}.ledger_sums AS sums WHERE sums.scope = wanted->0->>'scope';
END
$ledger$;`;
}

const part = (schema: string, amount: string, unit: string): string =>
  `${schema}.ledger_part(${amount}, ${unit}, sums.units, sums.rates)`;

function reservingIn(schema: string): string {
  const wanted = part(schema, "new_amount", "new_unit");
  const plus = (state: string) =>
    `${state} = sums.${state} + CASE new_state WHEN '${state}' THEN ${wanted} ELSE 0 END`;
  return `CREATE FUNCTION ${schema}.ledger_reserve(
  new_id text, new_at text, new_state text, new_amount numeric, new_unit text, new_tags text[],
  new_job text, new_entry text, limits jsonb, OUT shortfall integer, OUT used text
) LANGUAGE plpgsql AS $ledger$
BEGIN
  PERFORM ${schema}.ledger_open(limits);
  -- One at a time from here on, and in one order, so that no two wait for each other.
  PERFORM FROM ${schema}.ledger_sums AS sums
    WHERE (${isAbout("new_at", "new_tags")})
      OR sums.scope IN (SELECT each->>'scope' FROM jsonb_array_elements(limits) AS each)
    ORDER BY sums.scope FOR UPDATE;
  -- An earlier attempt has done it, and its connection was torn before it could say so.
  IF EXISTS (SELECT FROM ${schema}.ledger AS entry WHERE entry.id = new_id) THEN RETURN; END IF;
  SELECT given.position - 1, (sums.charged + sums.reserved + sums.unknown)::text
    INTO shortfall, used
    FROM jsonb_array_elements(limits) WITH ORDINALITY AS given (each, position)
    JOIN ${schema}.ledger_sums AS sums ON sums.scope = given.each->>'scope'
    -- What costs nothing always has room, also where an order in flight came to cost more.
    WHERE ${wanted} > 0 AND sums.charged + sums.reserved + sums.unknown + ${wanted}
      > round((given.each->>'amount')::numeric, 9)
    ORDER BY given.position LIMIT 1;
  IF FOUND THEN RETURN; END IF;
  INSERT INTO ${schema}.ledger (id, reserved_at, state, amount, unit, tags, job, entry)
    VALUES (new_id, new_at, new_state, new_amount, new_unit, new_tags, new_job, new_entry)
    ON CONFLICT DO NOTHING;
  -- Where no sums held it back, an earlier attempt may have been at it at the same time.
  IF NOT FOUND THEN RETURN; END IF;
  UPDATE ${schema}.ledger_sums AS sums SET ${["charged", "reserved", "unknown"].map(plus).join(",\n      ")}
    WHERE ${isAbout("new_at", "new_tags")};
END
$ledger$;`;
}

function changingIn(schema: string): string {
  const before = part(schema, "old.amount", "old.unit");
  const after = part(schema, "changed.amount", "changed.unit");
  const moved = (state: string) =>
    `${state} = sums.${state} - CASE old.state WHEN '${state}' THEN ${before} ELSE 0 END
      + CASE changed.state WHEN '${state}' THEN ${after} ELSE 0 END`;
  return `CREATE FUNCTION ${schema}.ledger_change(
  changed_id text, new_state text, counts boolean, new_amount numeric, new_unit text, new_job text,
  change text
) RETURNS void LANGUAGE plpgsql AS $ledger$
DECLARE
  old record;
  changed record;
BEGIN
  PERFORM ${schema}.ledger_open('[]');
  SELECT * INTO old FROM ${schema}.ledger AS entry WHERE entry.id = changed_id FOR UPDATE;
  IF NOT FOUND THEN RETURN; END IF;
  UPDATE ${schema}.ledger AS entry SET
      state = coalesce(new_state, entry.state),
      amount = CASE WHEN counts THEN new_amount ELSE entry.amount END,
      unit = CASE WHEN counts THEN new_unit ELSE entry.unit END,
      job = coalesce(new_job, entry.job), changes = entry.changes || change
    WHERE entry.id = changed_id RETURNING * INTO changed;
  IF new_state IS NULL AND NOT counts THEN RETURN; END IF;
  PERFORM FROM ${schema}.ledger_sums AS sums
    WHERE ${isAbout("old.reserved_at", "old.tags")}
    ORDER BY sums.scope FOR UPDATE;
  UPDATE ${schema}.ledger_sums AS sums SET ${["charged", "reserved", "unknown"].map(moved).join(",\n      ")}
    WHERE ${isAbout("old.reserved_at", "old.tags")};
END
$ledger$;`;
}
