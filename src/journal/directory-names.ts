// What the files of a directory journal are called.

/** @throws {TypeError} for an id that would lead elsewhere. */
export function recordName(id: string): string {
  return `${checkedId(id)}.json`;
}

/** @throws {TypeError} for an id that would lead elsewhere. */
export function imageName(id: string, position: number, extension: string): string {
  return `${checkedId(id)}.${position}.${extension}`;
}

/** An id as a part of a file name: it must not lead elsewhere. */
export function checkedId(id: string): string {
  if (!isRecordId(id)) throw new TypeError(`"${id}" is no id of a journal record`);
  return id;
}

export function isRecordId(id: string): boolean {
  return /^[\w-]+\.\d+$/.test(id);
}
