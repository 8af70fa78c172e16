#!/usr/bin/env bash
# Export a query to a file and prove that it is complete. bash, curl 7.76 or later, awk, od, sed and sha256sum.
#
#     export FLUXPORT_URL=http://127.0.0.1:8080 FLUXPORT_SECRET=...   # and FLUXPORT_KEY_ID unless it is "default"
#     ./export.sh stream "SELECT * FROM users" users.csv     # POST /v1/stream: the response is the file
#     ./export.sh export "SELECT * FROM users" users.xlsx    # POST /export: a job, polled, then downloaded
#     ./export.sh --selftest ../signing_vectors.json         # check the signatures against the vectors
#
# The file's suffix is the format. The file gets its name only if rows, bytes and SHA-256 match the service's.
set -euo pipefail
export LC_ALL=C

sha256() { if command -v sha256sum > /dev/null; then sha256sum; else shasum -a 256; fi | cut -c 1-64; }

# hmac SECRET < message. Computed here, because `openssl dgst -hmac` shows the secret to everyone who can run `ps`.
hmac() {
  local key inner='' outer='' byte i
  key=$(printf %s "$1" | od -An -v -tx1 | tr -d ' \n')
  ((${#key} <= 128)) || key=$(printf %s "$1" | sha256)
  while ((${#key} < 128)); do key+=00; done
  for ((i = 0; i < 128; i += 2)); do
    byte=$((16#${key:i:2}))
    printf -v inner '%s\\x%02x' "$inner" $((byte ^ 0x36))
    printf -v outer '%s\\x%02x' "$outer" $((byte ^ 0x5c))
  done
  inner=$({ printf '%b' "$inner" && cat; } | sha256 | sed 's/../\\x&/g')
  printf '%b' "$outer$inner" | sha256
}

# sign_v1 SECRET METHOD TARGET TIMESTAMP < body: FluxQuery's METHOD + PATH + BODY + TIMESTAMP, without the query.
sign_v1() { { printf %s "$2${3%%\?*}" && cat && printf %s "$4"; } | hmac "$1"; }

# sign_v2 SECRET METHOD TARGET TIMESTAMP NONCE < body: six lines, among them the query and the body's SHA-256.
sign_v2() {
  local digest
  digest=$(sha256)
  printf 'v2=%s\n' "$(printf 'v2\n%s\n%s\n%s\n%s\n%s' "$2" "$3" "$4" "$5" "$digest" | hmac "$1")"
}

fail() { printf '%s\n' "$*" >&2; exit 1; }

# call v1|v2|unsigned METHOD TARGET BODY FILE: send a request, write the response to FILE, its head to $scratch/headers.
call() {
  local url=$3 now nonce signature headers=(-H 'Content-Type: application/json')
  now=$(date +%s)
  case $1 in
    v1)
      signature=$(printf %s "$4" | sign_v1 "$FLUXPORT_SECRET" "$2" "$3" "$now")
      headers+=(-H "X-Timestamp: $now" -H "X-Signature: $signature") ;;
    v2)
      nonce=$(od -An -v -tx1 -N 16 /dev/urandom | tr -d ' \n')
      signature=$(printf %s "$4" | sign_v2 "$FLUXPORT_SECRET" "$2" "$3" "$now" "$nonce")
      headers+=(-H "X-Key-Id: ${FLUXPORT_KEY_ID:-default}" -H "X-Timestamp: $now" -H "X-Nonce: $nonce"
        -H "X-Signature: $signature") ;;
  esac
  [[ $url == http*://* ]] || url=${FLUXPORT_URL:-http://127.0.0.1:8080}$url
  [[ -z $4 ]] || headers+=(--data-binary "$4")
  curl --silent --show-error --fail-with-body --connect-timeout 10 --speed-limit 1 --speed-time 300 \
    --request "$2" "${headers[@]}" --dump-header "$scratch/headers" --output "$5" "$url" ||
    fail "$2 $3: $(head -c 500 "$5" 2> /dev/null | tr -d '\0')"
}

json() { # json TEXT: as a JSON string
  local text=${1//\\/\\\\}
  text=${text//\"/\\\"} text=${text//$'\n'/\\n} text=${text//$'\r'/\\r} text=${text//$'\t'/\\t}
  printf '"%s"' "$text"
}

field() { # field NAME < object: the first value of that name, text or number; nothing if there is none
  tr -d '\n' | grep -o "\"$1\": *\(\"[^\"]*\"\|[0-9]*\)" | head -n 1 | sed 's/^[^:]*: *//; s/"//g' || true
}

# poll VERSION TARGET: poll until the export has ended; its description is in $scratch/job.
poll() {
  while call "$1" GET "$2" '' "$scratch/job"; do
    case $(field status < "$scratch/job") in
      completed | COMPLETED) return ;;
      queued | running | PENDING | PROCESSING) sleep 1 ;;
      *) fail "the export failed: $(cat "$scratch/job")" ;;
    esac
  done
}

stream() { # QUERY FORMAT
  call v2 POST /v1/stream "{\"source\": {\"query\": $(json "$1")}, \"format\": \"$2\"}" "$part"
  poll v2 "/v1/exports/$(sed -n 's/^[Xx]-[Ee]xport-[Ii]d: *\([^[:space:]]*\).*/\1/p' "$scratch/headers")"
}

export_job() { # QUERY FORMAT
  call v1 POST /export "{\"query\": $(json "$1"), \"format\": \"$2\"}" "$scratch/created"
  poll v2 "/jobs?id=$(field job_id < "$scratch/created")" # v1 signatures would be the same for every job
  call unsigned GET "$(field download_url < "$scratch/job")" '' "$part"
}

publish() { # FILE: give the part its name, if it matches the file the service stored
  local rows size digest expected
  rows=$(field rows < "$scratch/job")
  expected="$rows rows, $(field bytes < "$scratch/job") bytes, sha256 $(field sha256 < "$scratch/job")"
  # The rows of a CSV are its line ends outside quotes, less the header.
  [[ $1 != *.csv ]] || rows=$(awk 'BEGIN { RS = "\"" } NR % 2 { n += gsub(/\n/, "") } END { print n - 1 }' "$part")
  size=$(wc -c < "$part" | tr -d ' ')
  digest=$(sha256 < "$part")
  [[ "$rows rows, $size bytes, sha256 $digest" == "$expected" ]] ||
    fail "this is not the file the service stored: $rows rows, $size bytes, sha256 $digest arrived; $expected sent"
  mv -f "$part" "$1"
  printf '%s: %s\n' "$1" "$expected"
}

selftest() { # VECTORS
  local line version='' count=0 got
  while IFS= read -r line; do
    case $line in *'"v1":'*) version=v1 ;; *'"v2":'*) version=v2 ;; esac
    [[ $line == *'"signature"'* ]] || continue
    value() { field "$1" <<< "$line"; }
    got=$(value body_base64 | base64 -d |
      "sign_$version" "$(value secret)" "$(value method)" "$(value target)" "$(value timestamp)" "$(value nonce)")
    [[ $got == "$(value signature)" ]] || fail "$version vector '$(value name)' differs"
    count=$((count + 1))
  done < "$1"
  printf '%s signatures agree\n' "$count"
}

if [[ $# == 2 && $1 == --selftest ]]; then selftest "$2" && exit; fi
if [[ $# != 3 || ! $1 =~ ^(stream|export)$ || -z ${FLUXPORT_SECRET:-} ]]; then
  printf 'usage: FLUXPORT_SECRET=... export.sh stream|export QUERY FILE  or  export.sh --selftest VECTORS\n' >&2
  exit 2
fi
part=$3.part
scratch=$(mktemp -d)
trap 'rm -rf "$part" "$scratch"' EXIT
case $1 in stream) stream "$2" "${3##*.}" ;; export) export_job "$2" "${3##*.}" ;; esac
publish "$3"
