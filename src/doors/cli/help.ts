import type { CommandName } from "./options";

/** What `--help` says. */
export const overview = `Usage: gpt-image-client <command> [options]

  generate "…"       make pictures from words
  edit -i FILE "…"   make pictures from pictures and words
  estimate "…"       what that costs at list prices
  batch FILE         one order per line; each is bought once
  jobs               what was ordered, and how it stands
  resume JOB         fetch a job's pictures, whichever process ordered it
  recover            fetch the pictures of every job that was never delivered
  costs              what was spent, as a table, --csv or --json
  serve              OpenAI's images API on this machine, over your providers
  providers          what each provider can do, and where its key goes
  sandbox            play the providers on this machine

The first picture, without a key and for nothing:
  gpt-image-client generate --provider sandbox "A fox in the snow"

A provider is the one whose key is in the environment (SHORTAPI_KEY, AIGPTIMAGE_API_KEY,
TRINETRA_API_KEY, OPENAI_API_KEY), or --provider.

Exit codes: 0 all pictures came; 1 nothing was charged; 2 wrong usage; 3 some came, the others were
not charged; 4 charged and not delivered; 5 the charge is unknown. If several apply, the highest is
used.

gpt-image-client <command> --help says more.`;

const orderOptions = `
What is wanted:
  -n, --count N          how many pictures
  --size WxH             such as 1536x1024, or auto
  --aspect-ratio W:H     such as 3:2, instead of --size
  --resolution R         1K, 2K or 4K, with --aspect-ratio
  --quality Q            low, medium, high, auto
  --background B         transparent, opaque, auto
  --format F             png, jpeg, webp
  --compression N        0 to 100, for jpeg and webp
  --moderation M         low or auto
  --user ID              your end user, for the provider's abuse monitoring
  --stream               keep the connection busy while the picture is made, where that can be
  --omit-unsupported     leave out what the provider cannot do, with a warning, instead of refusing

Who makes it:
  -p, --provider NAME    shortapi, aigptimage, trinetra, openai, openai-compatible, sandbox
  --base-url URL         another address of the provider; openai-compatible needs one, and its key
                         in OPENAI_COMPATIBLE_API_KEY
  --model NAME           another model

Money and time:
  --max-cost "0.10 USD"  refuse what costs more at list price, has another unit or no known price
  --timeout 10m          how long to wait for each picture (default 10m)
  --concurrency N        how many requests at once

Where it goes:
  -o, --output PATH      a file, a directory, or - for the bytes on stdout (default: this directory)
  --sheet                also a contact sheet of the pictures (needs sharp)
  --json                 one document on stdout instead of the paths
  --events               a line of JSON on stdout for each event, and the document last
  --state DIR            where journal and ledger are (default: $XDG_STATE_HOME/gpt-image-client,
                         or ~/.local/state/gpt-image-client)

Files are named after the job and never overwritten; their paths are all that is on stdout.
Ctrl-C stops and says how to have what was paid for; where the response is the picture itself, the first
one waits for it.`;

const texts: Readonly<Record<CommandName, string>> = {
  generate: `Usage: gpt-image-client generate [options] "prompt"

The prompt is the argument, --prompt-file FILE, or what comes through a pipe.
${orderOptions}`,
  edit: `Usage: gpt-image-client edit -i picture.png [-i …] [options] "what to change"

  -i, --image FILE|URL   a picture to work from; give it again for more
  --mask FILE            a PNG whose transparent parts say where

The prompt is the argument, --prompt-file FILE, or what comes through a pipe.
${orderOptions}`,
  estimate: `Usage: gpt-image-client estimate [options] ["prompt"]

What pictures cost at list prices, at every provider or at --provider NAME. Takes the options
of generate that say what is wanted, and --json. Needs no key.`,
  providers: `Usage: gpt-image-client providers [--json]

What each provider can do, and in which variable of the environment its key is looked for.`,
  batch: `Usage: gpt-image-client batch [options] FILE

A JSON object a line, with the fields of a request and, if you like, an "id" that names its files:

  {"id":"fox","prompt":"A fox","size":"1024x1024"}
  {"id":"fox-in-snow","prompt":"Make it snow","images":["fox.png"]}

A line is bought once, however often the batch is started, stopped or killed: its key is made of what
stands in it. Two equal lines are two orders. Paths are seen from the batch's directory.

  -o, --output DIR       where the pictures go (default: this directory)
  --concurrency N        how many lines at once (default 4)
  --max-cost "5 USD"     refuse the batch where what is still to buy costs more at list price
  --name NAME            another name buys the same lines again
  -p, --provider, --base-url, --model, --timeout, --json, --state as with generate`,
  serve: `Usage: gpt-image-client serve [--port 8788] [options]

OpenAI's images API on 127.0.0.1, for whatever has a base URL to change. It prints the URL and the key
that its callers need. With keys of several providers in the environment they are asked in turn, the
next only where the one before charged nothing; --provider NAME takes one.`,
  jobs: `Usage: gpt-image-client jobs [--json] [--state DIR]

The jobs of the journal, the newest last. What was delivered more than 30 days ago is forgotten.`,
  resume: `Usage: gpt-image-client resume [options] JOB

Fetches the pictures of a job, by its id or the beginning of it. One that has ended comes out of the journal,
whoever the provider is; one that runs is waited for.

  -o, --output PATH      a file, a directory, or - for the bytes on stdout
  --timeout 10m          how long to wait
  --json, --events       as with generate
  --state DIR            where journal and ledger are`,
  recover: `Usage: gpt-image-client recover [options]

Fetches the pictures of every job that was never delivered. Nothing is bought again; what
nobody can know is said, with what to do about it. Takes the options of resume.`,
  costs: `Usage: gpt-image-client costs [options]
       gpt-image-client costs settle JOB --charged yes|no [--cost "0.06 USD"] [--task-id ID]

  --by GROUP             client, operation, state, hour, day or month (default client)
  --from, --to DATE      such as 2026-11-01; the latter is not included
  --csv, --json          for programs
  --state DIR            where journal and ledger are

settle ends an order of which nobody knows whether it was charged, by what you found in the provider's
console. With --task-id, the provider's id of the job, resume fetches its pictures.`,
  sandbox: `Usage: gpt-image-client sandbox [--port N] [--job-time 5s]

Plays all providers on 127.0.0.1 until Ctrl-C: real requests, real files, and no money.`,
};

/** What `<command> --help` says. */
export function helpOf(name: CommandName): string {
  return texts[name];
}
