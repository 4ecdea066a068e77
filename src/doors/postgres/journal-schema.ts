/** The step of the schema that makes a journal, and the table of the steps themselves. */
export function journalTables(schema: string): string {
  return [foundations(schema), recordsIn(schema), imagesIn(schema)].join("\n\n");
}

/** Which steps were made, and which journal it is. */
function foundations(schema: string): string {
  return `CREATE TABLE ${schema}.migrations (
  version integer PRIMARY KEY,
  applied_at timestamptz NOT NULL DEFAULT now()
);

-- One row: which journal this is. A worker that meets another one than before has lost its database.
CREATE TABLE ${schema}.journal (
  identity uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  tried_at timestamptz
);
INSERT INTO ${schema}.journal DEFAULT VALUES;`;
}

function recordsIn(schema: string): string {
  return `-- A row for each task. The JSON is text: jsonb refuses some characters that a prompt may have.
CREATE TABLE ${schema}.records (
  id text COLLATE "C" PRIMARY KEY,
  job_id text COLLATE "C" NOT NULL,
  provider text NOT NULL,
  base_url text NOT NULL,
  account text COLLATE "C" NOT NULL,
  state text NOT NULL,
  -- In one column: of three, a planner without statistics believes that they leave one row, and sorts all.
  whose text COLLATE "C" GENERATED ALWAYS AS
    (provider || E'\\n' || base_url || E'\\n' || account) STORED,
  -- The id once more, so that no plan can take the primary key's order for that of a listing.
  settled_id text COLLATE "C" GENERATED ALWAYS AS
    (CASE WHEN state IN ('succeeded', 'failed') THEN id END) STORED,
  unsettled_id text COLLATE "C" GENERATED ALWAYS AS
    (CASE WHEN state IN ('succeeded', 'failed') THEN NULL ELSE id END) STORED,
  -- The provider's id of the job; its digest where it is long or has unusual characters.
  task_id text COLLATE "C",
  submitted_at timestamptz NOT NULL,
  settled_at timestamptz NOT NULL,
  record text NOT NULL,
  -- Which attempt wrote the row; null once it has been updated.
  writer text COLLATE "C"
);
CREATE INDEX records_unsettled ON ${schema}.records (unsettled_id)
  WHERE unsettled_id IS NOT NULL;
CREATE INDEX records_waiting ON ${schema}.records (task_id) WHERE state = 'submitted';
CREATE INDEX records_settled ON ${schema}.records (whose, settled_id)
  WHERE settled_id IS NOT NULL;
CREATE INDEX records_expiry ON ${schema}.records (settled_at) WHERE settled_id IS NOT NULL;
CREATE INDEX records_job ON ${schema}.records (job_id);`;
}

function imagesIn(schema: string): string {
  return `-- An image that is whole is published. With no pieces it is in a store elsewhere; what is dropped
-- has yet to be deleted there.
CREATE TABLE ${schema}.images (
  id text COLLATE "C" NOT NULL,
  position integer NOT NULL,
  version text COLLATE "C" NOT NULL,
  pieces integer NOT NULL,
  byte_length bigint NOT NULL,
  published_at timestamptz,
  dropped boolean NOT NULL DEFAULT false,
  PRIMARY KEY (id, position, version)
);
CREATE INDEX images_dropped ON ${schema}.images (id) WHERE dropped;

CREATE TABLE ${schema}.image_pieces (
  id text COLLATE "C" NOT NULL,
  position integer NOT NULL,
  version text COLLATE "C" NOT NULL,
  piece integer NOT NULL,
  bytes bytea NOT NULL,
  PRIMARY KEY (id, position, version, piece)
);
-- Pictures are compressed already.
ALTER TABLE ${schema}.image_pieces ALTER COLUMN bytes SET STORAGE EXTERNAL;`;
}
