#!/usr/bin/env bash
# An AVIF may carry a crop (`clap`) or a quarter turn (`irot`), which every viewer applies. Three readers of
# image sizes do not: of a picture cropped to 32 x 16, image-size 2.1.0 says 63 x 32, which is neither the whole
# nor the part, and image-dimensions 2.6.0 and probe-image-size 7.5.0 say 64 x 32; of one turned a quarter to
# the left, to be shown as 32 x 64, all say 64 x 32. probe-image-size adds EXIF orientation 6, a turn to the
# right. sharp 0.35.5 decodes both as they are shown: its first pixel of the turned one is the top right's red.
# The two files were made by avifenc 0.11.1 of a 64 x 32 gradient: red grows to the right, green downwards.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"
echo '{ "private": true, "type": "module" }' > package.json
npm install --silent --no-audit --no-fund image-size@2.1.0 image-dimensions@2.6.0 probe-image-size@7.5.0 sharp@0.35.5
base64 -d > cropped.avif <<'AVIF'
AAAAIGZ0eXBhdmlmAAAAAGF2aWZtaWYxbWlhZk1BMUEAAAEbbWV0YQAAAAAAAAAoaGRscgAAAAAAAAAAcGljdAAAAAAAAAAAAAAA
AGxpYmF2aWYAAAAADnBpdG0AAAAAAAEAAAAeaWxvYwAAAABEAAABAAEAAAABAAABQwAAAHIAAAAoaWluZgAAAAAAAQAAABppbmZl
AgAAAAABAABhdjAxQ29sb3IAAAAAk2lwcnAAAABzaXBjbwAAABRpc3BlAAAAAAAAAEAAAAAgAAAAEHBpeGkAAAAAAwgICAAAAAxh
djFDgSAAAAAAABNjb2xybmNseAABAA0ABoAAAAAoY2xhcAAAACAAAAABAAAAEAAAAAH////wAAAAAf////gAAAABAAAAGGlwbWEA
AAAAAAAAAQABBQECgwSFAAAAem1kYXQSAAoJOBU/+wgIaDSAMmMYwA0000QA6U3WS7A1D5J8kx7xkqANufrx1bwdiaEXRgHqgGsB
I0WdxsochCrivf20qBcJ8k45TAbBcnO09ZJPbUoGTblOMx9r5q883wa8vSYYB/Q4WUl8Nvmc73WJEUl8B0A=
AVIF
base64 -d > turned.avif <<'AVIF'
AAAAIGZ0eXBhdmlmAAAAAGF2aWZtaWYxbWlhZk1BMUEAAAD8bWV0YQAAAAAAAAAoaGRscgAAAAAAAAAAcGljdAAAAAAAAAAAAAAA
AGxpYmF2aWYAAAAADnBpdG0AAAAAAAEAAAAeaWxvYwAAAABEAAABAAEAAAABAAABJAAAAHIAAAAoaWluZgAAAAAAAQAAABppbmZl
AgAAAAABAABhdjAxQ29sb3IAAAAAdGlwcnAAAABUaXBjbwAAABRpc3BlAAAAAAAAAEAAAAAgAAAAEHBpeGkAAAAAAwgICAAAAAxh
djFDgSAAAAAAABNjb2xybmNseAABAA0ABoAAAAAJaXJvdAEAAAAYaXBtYQAAAAAAAAABAAEFAQKDBIUAAAB6bWRhdBIACgk4FT/7
CAhoNIAyYxjADTTTRADpTdZLsDUPknyTHvGSoA25+vHVvB2JoRdGAeqAawEjRZ3GyhyEKuK9/bSoFwnyTjlMBsFyc7T1kk9tSgZN
uU4zH2vmrzzfBry9JhgH9DhZSXw2+ZzvdYkRSXwHQA==
AVIF
cat > sizes.js <<'JS'
import { readFileSync } from "node:fs";
import { imageDimensionsFromData } from "image-dimensions";
import { imageSize } from "image-size";
import probe from "probe-image-size";
import sharp from "sharp";
for (const name of ["cropped", "turned"]) {
  const bytes = readFileSync(`${name}.avif`);
  const decoded = await sharp(bytes).raw().toBuffer({ resolveWithObject: true });
  const said = [imageSize(bytes), imageDimensionsFromData(bytes), probe.sync(bytes), decoded.info];
  const sizes = said.map(({ width, height }) => `${width}x${height}`);
  console.log(name, ...sizes, probe.sync(bytes).orientation ?? "-", decoded.data[0] > 200 ? "red" : "dark");
}
JS
seen=$(node sizes.js)
echo "$seen"
[ "$seen" = "cropped 63x32 64x32 64x32 32x16 - dark
turned 64x32 64x32 64x32 32x64 6 red" ]
