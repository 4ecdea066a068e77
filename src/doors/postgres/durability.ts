/**
 * A column that makes the commit of its statement durable, though `synchronous_commit` may be off for
 * the role: a create that was sent after a commit which a crash undoes would be paid for twice.
 */
export const durably = `CASE current_setting('synchronous_commit')
  WHEN 'off' THEN set_config('synchronous_commit', 'on', true) END AS durably`;
