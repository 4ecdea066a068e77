/** A sentence with one stop at its end, whatever stops the words of others have. */
export function withStop(text: string): string {
  const words = withoutStops(text);
  if (words.length + 1 < text.length) return `${words}…`;
  return /[!?…:]$/.test(words) ? words : `${words}.`;
}

/** Not by `/\.+$/`, which looks for the end anew from each dot. */
export function withoutStops(text: string): string {
  let end = text.length;
  while (text[end - 1] === ".") end -= 1;
  return text.slice(0, end);
}
