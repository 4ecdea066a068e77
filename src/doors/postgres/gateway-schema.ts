/** The step of the schema that makes the store of a gateway. */
export function gatewayTables(schema: string): string {
  return `CREATE TABLE ${schema}.gateway_orders (
  id text COLLATE "C" PRIMARY KEY,
  record text NOT NULL
);

-- One row: which gateway may write, and until when no other may take that from it.
CREATE TABLE ${schema}.gateway_lease (
  holder uuid,
  number integer NOT NULL DEFAULT 0,
  expires_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO ${schema}.gateway_lease DEFAULT VALUES;`;
}
