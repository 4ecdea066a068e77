#!/usr/bin/env bash
# @20minutes/s3rver 4.0.4, a local S3 for tests, refuses every list that @aws-sdk/client-s3 3.1175.0 asks for: ListObjects
# and ListObjectsV2 are answered with SignatureDoesNotMatch, while PutObject, GetObject and DeleteObject of the same client, keys and bucket pass.
# Pictures that are kept in such a store can be written and read there, and not listed.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"
echo '{ "private": true, "type": "module" }' > package.json
npm install --silent --no-audit --no-fund @20minutes/s3rver@4.0.4 @aws-sdk/client-s3@3.1175.0
cat > calls.js <<'JS'
import * as s3 from "@aws-sdk/client-s3";
import S3rver from "@20minutes/s3rver";

const server = new S3rver({
  port: 0,
  address: "127.0.0.1",
  silent: true,
  directory: "./store",
  configureBuckets: [{ name: "pictures" }],
});
const { port } = await server.run();
const client = new s3.S3Client({
  region: "us-east-1",
  endpoint: `http://127.0.0.1:${port}`,
  forcePathStyle: true,
  credentials: { accessKeyId: "S3RVER", secretAccessKey: "S3RVER" },
  requestChecksumCalculation: "WHEN_REQUIRED",
});
const Bucket = "pictures";
const Key = "a.png";
const calls = {
  put: new s3.PutObjectCommand({ Bucket, Key, Body: "bytes" }),
  get: new s3.GetObjectCommand({ Bucket, Key }),
  list: new s3.ListObjectsV2Command({ Bucket }),
  "list of version 1": new s3.ListObjectsCommand({ Bucket }),
  delete: new s3.DeleteObjectCommand({ Bucket, Key }),
};
for (const [name, call] of Object.entries(calls)) {
  const said = await client.send(call).then(
    ({ $metadata }) => $metadata.httpStatusCode,
    (error) => error.name,
  );
  console.log(`${name}: ${said}`);
}
await server.close();
process.exit();
JS
seen=$(node --no-deprecation calls.js 2>/dev/null)
echo "$seen"
[ "$seen" = "put: 200
get: 200
list: SignatureDoesNotMatch
list of version 1: SignatureDoesNotMatch
delete: 204" ]
