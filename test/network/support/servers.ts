import { join } from "node:path";
import { type Daemon, startDaemon } from "./daemon";

/** What else nginx is told. */
interface NginxOptions {
  /** Directives beside `server`. */
  readonly http?: string;
  /** Where it listens, too. */
  readonly ports?: readonly number[];
  /** With one it speaks TLS at `ports`. */
  readonly certificate?: { readonly cert: string; readonly key: string };
}

/** nginx with one `server` that has directives of the test's own. */
export function startNginx(
  server: string,
  { http = "", ports = [], certificate }: NginxOptions = {},
): Promise<Daemon> {
  const tls = certificate === undefined ? "" : " ssl";
  return startDaemon("nginx", ({ folder, port }) => ({
    args: ["-p", folder, "-c", join(folder, "nginx.conf"), "-e", "stderr"],
    files: {
      "certificate.pem": certificate?.cert ?? "",
      "key.pem": certificate?.key ?? "",
      "nginx.conf": `
        daemon off;
        master_process off;
        pid ${folder}/nginx.pid;
        events { worker_connections 4096; }
        http {
          access_log off;
          client_body_temp_path ${folder}/body;
          proxy_temp_path ${folder}/proxy;
          fastcgi_temp_path ${folder}/fastcgi;
          uwsgi_temp_path ${folder}/uwsgi;
          scgi_temp_path ${folder}/scgi;
          ${http}
          server {
            listen 127.0.0.1:${port};
            ${ports.map((each) => `listen 127.0.0.1:${each}${tls};`).join("\n")}
            ${tls && `ssl_certificate ${folder}/certificate.pem; ssl_certificate_key ${folder}/key.pem;`}
            ${server}
          }
        }`,
    },
  }));
}

/** Varnish with its built-in VCL, or the test's own before that, and one backend. */
export function startVarnish(
  backendPort: number,
  parameters: Readonly<Record<string, number>> = {},
  vcl = "",
): Promise<Daemon> {
  return startDaemon("varnishd", ({ folder, port }) => ({
    args: [
      ...["-F", "-n", join(folder, "work"), "-a", `127.0.0.1:${port}`],
      ...["-f", join(folder, "own.vcl"), "-s", "malloc,16m"],
      ...Object.entries(parameters).flatMap(([name, value]) => ["-p", `${name}=${value}`]),
    ],
    files: {
      "own.vcl": `vcl 4.1;
        backend default { .host = "127.0.0.1"; .port = "${backendPort}"; }
        ${vcl}`,
    },
  }));
}

/** haproxy with Debian's time-outs, or the test's own after them, and a backend. */
export function startHaproxy(backend: string, frontend = ""): Promise<Daemon> {
  return startDaemon("haproxy", ({ folder, port }) => ({
    args: ["-db", "-f", join(folder, "haproxy.cfg")],
    files: {
      "haproxy.cfg": `
defaults
  mode http
  timeout connect 5s
  timeout client 50s
  timeout server 50s
frontend here
  bind 127.0.0.1:${port}
${frontend}
  default_backend there
backend there
${backend}
`,
    },
  }));
}

/** squid as a forward proxy; \`access\` says who may do what. */
export function startSquid(access: string): Promise<Daemon> {
  return startDaemon("squid", ({ folder, port }) => ({
    args: ["-N", "-f", join(folder, "squid.conf")],
    files: {
      "squid.conf": `
http_port 127.0.0.1:${port}
pid_filename none
visible_hostname localhost
cache_log /dev/stderr
access_log none
cache_store_log none
coredump_dir ${folder}
pinger_enable off
netdb_filename none
shutdown_lifetime 0 seconds
${access}
`,
    },
  }));
}

/** tinyproxy, with lines of the test's own. */
export function startTinyproxy(lines = ""): Promise<Daemon> {
  return startDaemon("tinyproxy", ({ folder, port }) => ({
    args: ["-d", "-c", join(folder, "tinyproxy.conf")],
    files: {
      "tinyproxy.conf": `
Port ${port}
Listen 127.0.0.1
MaxClients 100
Allow 127.0.0.1
LogLevel Warning
${lines}
`,
    },
  }));
}
