<?php
/**
 * Push the rows of a CSV file to Fluxport over gRPC, fetch the finished file, and prove that it is complete.
 * PHP 8.1 or later with its curl extension; no gRPC extension and no generated code are needed.
 *
 *     export FLUXPORT_GRPC=127.0.0.1:9090 FLUXPORT_KEY=fxp_...   # fluxport keys create NAME --user YOU --scope push
 *     php push.php orders.csv orders.xlsx
 *
 * A column's type may follow its name in the header: id:number, name, day:date, paid:boolean. The format is the suffix
 * of the second file: csv, xlsx, jsonl or parquet. It has its name only after rows, bytes and SHA-256 agree.
 *
 * A call of gRPC is one HTTP/2 request: messages with a length before each go up while curl asks for them, so that
 * nothing is held in memory, and with "x-fluxport-responses: final" one message comes down. This file writes and reads
 * those few messages itself; with the grpc extension use the classes that protoc generates from export.proto.
 */
declare(strict_types=1);

const FORMATS = ['xlsx' => 1, 'csv' => 2, 'jsonl' => 3, 'parquet' => 4];
const TYPES = ['string' => 1, 'number' => 2, 'date' => 3, 'boolean' => 4];
const ROWS_PER_BATCH = 1000;

/** A number as a protobuf varint. */
function varint(int $number): string
{
    $bytes = '';
    while ($number > 127) {
        $bytes .= chr($number & 127 | 128);
        $number >>= 7;
    }
    return $bytes . chr($number);
}

/** A field that holds a number, or nothing for 0. */
function number(int $field, int $value): string
{
    return $value === 0 ? '' : varint($field << 3) . varint($value);
}

/** A field that holds text or another message. */
function bytes(int $field, string $value): string
{
    return varint($field << 3 | 2) . varint(strlen($value)) . $value;
}

/** A message as gRPC sends it: not compressed, its length, itself. */
function framed(string $message): string
{
    return pack('CN', 0, strlen($message)) . $message;
}

/** The metadata, then the rows in numbered batches. */
function messages(string $source, string $target): Generator
{
    $file = fopen($source, 'rb') ?: throw new RuntimeException("$source cannot be read");
    $columns = '';
    foreach (fgetcsv($file, null, ',', '"', '') as $cell) {
        [$name, $type] = explode(':', $cell) + [1 => 'string'];
        $columns .= bytes(4, bytes(1, $name) . number(2, TYPES[$type] ?? throw new RuntimeException("no type $type")));
    }
    $format = FORMATS[pathinfo($target, PATHINFO_EXTENSION)];
    // Store the request id: a retry with the same id is the same task.
    $metadata = bytes(1, bin2hex(random_bytes(16))) . number(2, $format) . bytes(3, basename($target)) . $columns;
    yield framed(bytes(1, $metadata));
    $sequence = $count = 0;
    $records = '';
    while (($row = fgetcsv($file, null, ',', '"', '')) !== false) {
        $record = '';
        foreach ($row as $value) {
            $record .= bytes(1, (string) $value);
        }
        $records .= bytes(1, $record);
        if (++$count % ROWS_PER_BATCH === 0) {
            yield framed(bytes(2, $records . number(2, ++$sequence)));
            $records = '';
        }
    }
    if ($records !== '') {
        yield framed(bytes(2, $records . number(2, ++$sequence)));
    }
}

/** The fields of a message by number: numbers and bytes; other kinds are skipped. */
function fields(string $message): array
{
    $fields = [];
    $at = 0;
    $read = function () use ($message, &$at): int {
        for ($value = $shift = 0; ; $shift += 7) {
            $byte = ord($message[$at++]);
            $value |= ($byte & 127) << $shift;
            if ($byte < 128) {
                return $value;
            }
        }
    };
    while ($at < strlen($message)) {
        $key = $read();
        switch ($key & 7) {
            case 0:
                $fields[$key >> 3] = $read();
                break;
            case 2:
                $size = $read();
                $fields[$key >> 3] = substr($message, $at, $size);
                $at += $size;
                break;
            default:
                $at += ($key & 7) === 1 ? 8 : 4;
        }
    }
    return $fields;
}

/** Push all rows; the fields of the one response. */
function push(string $source, string $target): array
{
    $host = getenv('FLUXPORT_GRPC') ?: '127.0.0.1:9090';
    $url = (str_contains($host, '://') ? $host : "http://$host") . '/export.ExportService/StreamExport';
    $messages = messages($source, $target);
    $rest = '';
    $trailers = [];
    $call = curl_init($url);
    curl_setopt_array($call, [
        CURLOPT_HTTP_VERSION => str_starts_with($url, 'https')
            ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE,
        CURLOPT_UPLOAD => true,
        CURLOPT_CUSTOMREQUEST => 'POST',
        CURLOPT_RETURNTRANSFER => true,
        CURLOPT_HTTPHEADER => [
            'content-type: application/grpc',
            'te: trailers',
            'authorization: Bearer ' . getenv('FLUXPORT_KEY'),
            'x-fluxport-responses: final',
        ],
        // Called whenever the service has room for more.
        CURLOPT_READFUNCTION => function ($call, $file, int $size) use ($messages, &$rest): string {
            while ($rest === '' && $messages->valid()) {
                $rest = $messages->current();
                $messages->next();
            }
            $part = substr($rest, 0, $size);
            $rest = substr($rest, strlen($part));
            return $part;
        },
        CURLOPT_HEADERFUNCTION => function ($call, string $line) use (&$trailers): int {
            [$name, $value] = explode(':', $line, 2) + [1 => ''];
            $trailers[strtolower(trim($name))] = rawurldecode(trim($value));
            return strlen($line);
        },
    ]);
    $body = curl_exec($call);
    if (($trailers['grpc-status'] ?? '') !== '0') {
        $code = $trailers['x-fluxport-error-code'] ?? 'status ' . ($trailers['grpc-status'] ?? 'unknown');
        throw new RuntimeException("$code: " . ($trailers['grpc-message'] ?? curl_error($call)));
    }
    return fields(substr($body, 5));
}

/** Fetch the file; it gets its name if its size and SHA-256 match those the service reported. */
function fetch(array $answer, string $target): void
{
    $file = fopen("$target.part", 'wb') ?: throw new RuntimeException("$target cannot be written");
    try {
        $call = curl_init($answer[3]);
        curl_setopt_array($call, [CURLOPT_FILE => $file, CURLOPT_FAILONERROR => true, CURLOPT_FOLLOWLOCATION => false]);
        if (!curl_exec($call)) {
            throw new RuntimeException(curl_error($call));
        }
        fclose($file);
        if (filesize("$target.part") !== $answer[4] || hash_file('sha256', "$target.part") !== $answer[7]) {
            throw new RuntimeException('the file differs from the one the service stored');
        }
        rename("$target.part", $target);
    } finally {
        @unlink("$target.part");
    }
}

if ($argc !== 3 || !isset(FORMATS[pathinfo($argv[2], PATHINFO_EXTENSION)]) || !getenv('FLUXPORT_KEY')) {
    fwrite(STDERR, "usage: FLUXPORT_KEY=... php push.php ROWS.csv FILE.csv|.xlsx|.jsonl|.parquet\n");
    exit(2);
}
try {
    $answer = push($argv[1], $argv[2]);
    fetch($answer, $argv[2]);
} catch (RuntimeException $error) {
    fwrite(STDERR, $error->getMessage() . "\n");
    exit(1);
}
printf("%s: %d rows, %d bytes, sha256 %s\n", basename($argv[2]), $answer[5] ?? 0, $answer[4], $answer[7]);
