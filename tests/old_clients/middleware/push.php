<?php
// Pushes rows as a program of the export middleware: no metadata, no key. Usage: push.php TARGET ROWS CSV|EXCEL ONE|MANY
// PHP's gRPC extension is in no package of Debian; this writes the same HTTP/2 requests with the curl extension. ONE
// fails unless there is exactly one response; with MANY the first is read before the rows are sent.
declare(strict_types=1);

const BATCH = 1000;
const STATUS = [1 => 'QUEUED', 'PROCESSING', 'UPLOADING', 'COMPLETED', 'FAILED'];

function varint(int $value): string
{
    for ($bytes = ''; $value > 127; $value >>= 7) {
        $bytes .= chr($value & 127 | 128);
    }
    return $bytes . chr($value);
}

function number(int $field, int $value): string
{
    return $value === 0 ? '' : varint($field << 3) . varint($value);
}

function bytes(int $field, string $value): string
{
    return varint($field << 3 | 2) . varint(strlen($value)) . $value;
}

function framed(string $message): string
{
    return "\0" . pack('N', strlen($message)) . $message;
}

function requests(int $rows, string $format, string $kind): Generator
{
    $columns = bytes(4, bytes(1, 'id') . number(2, 2)) . bytes(4, bytes(1, 'name') . number(2, 1));
    $metadata = bytes(1, "php-$kind-$format-$rows") . number(2, $format === 'CSV' ? 2 : 1) . bytes(3, 'orders') . $columns;
    yield framed(bytes(1, $metadata));
    for ($start = 0; $start < $rows; $start += BATCH) {
        $records = '';
        for ($i = $start; $i < min($start + BATCH, $rows); $i++) {
            $records .= bytes(1, bytes(1, (string) $i) . bytes(1, "name $i"));
        }
        yield framed(bytes(2, $records . number(2, intdiv($start, BATCH))));
    }
}

/** The fields of a response by number. */
function fields(string $message): array
{
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
    for ($fields = []; $at < strlen($message);) {
        $key = $read();
        if (($key & 7) === 0) {
            $fields[$key >> 3] = $read();
        } elseif (($key & 7) === 2) {
            $size = $read();
            $fields[$key >> 3] = substr($message, $at, $size);
            $at += $size;
        } else {
            $at += ($key & 7) === 1 ? 8 : 4;
        }
    }
    return $fields;
}

[, $target, $rows, $format, $kind] = $argv;
$requests = requests((int) $rows, $format, $kind);
$rest = $body = '';
$sent = 0;
$trailers = [];
$call = curl_init("http://$target/export.ExportService/StreamExport");
curl_setopt_array($call, [
    CURLOPT_HTTP_VERSION => CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE,
    CURLOPT_UPLOAD => true,
    CURLOPT_CUSTOMREQUEST => 'POST',
    CURLOPT_TIMEOUT => 120,
    CURLOPT_HTTPHEADER => ['content-type: application/grpc', 'te: trailers'],
    CURLOPT_READFUNCTION => function ($call, $file, int $size) use ($requests, $kind, &$rest, &$body, &$sent) {
        while ($rest === '' && $requests->valid()) {
            if ($kind === 'MANY' && $sent === 1 && $body === '') {
                return CURL_READFUNC_PAUSE;
            }
            $rest = $requests->current();
            $requests->next();
            $sent++;
        }
        $part = substr($rest, 0, $size);
        $rest = substr($rest, strlen($part));
        return $part;
    },
    CURLOPT_WRITEFUNCTION => function ($call, string $part) use (&$body): int {
        $body .= $part;
        curl_pause($call, CURLPAUSE_CONT);
        return strlen($part);
    },
    CURLOPT_HEADERFUNCTION => function ($call, string $line) use (&$trailers): int {
        [$name, $value] = explode(':', $line, 2) + [1 => ''];
        $trailers[strtolower(trim($name))] = trim($value);
        return strlen($line);
    },
]);
curl_exec($call);
$responses = [];
for ($at = 0; $at < strlen($body); $at += 5 + $size) {
    $size = unpack('N', $body, $at + 1)[1];
    $responses[] = fields(substr($body, $at + 5, $size));
}
if (($trailers['grpc-status'] ?? '') !== '0' || ($kind === 'ONE' && count($responses) !== 1)) {
    fwrite(STDERR, count($responses) . ' responses, ' . json_encode($trailers) . ' ' . curl_error($call) . "\n");
    exit(1);
}
$last = end($responses);
echo implode(' ', [count($responses), STATUS[$last[2]], $last[5] ?? 0, $last[3]]), "\n";
