#!/usr/bin/env php
<?php
/*
 * Export a query to a file and prove that it is complete. PHP 8.1 or later with its curl extension, nothing else.
 *
 *     export FLUXPORT_URL=http://127.0.0.1:8080 FLUXPORT_SECRET=...   # and FLUXPORT_KEY_ID unless it is "default"
 *     php export.php stream "SELECT * FROM users" users.csv     # POST /v1/stream: the response is the file
 *     php export.php export "SELECT * FROM users" users.xlsx    # POST /export: a job, polled, then downloaded
 *     php export.php --selftest ../signing_vectors.json         # check the signatures against the vectors
 *
 * The file's suffix is the format. The file gets its name only if rows, bytes and SHA-256 match the service's.
 */
declare(strict_types=1);

require __DIR__ . '/client.php';

set_error_handler(fn (int $level, string $message) => throw new ErrorException($message));

/** Poll until the export has ended; its description. */
function poll(string $version, string $target): array
{
    while (true) {
        $job = ask($version, 'GET', $target);
        $status = strtolower($job['status']);
        if ($status === 'completed') {
            return $job;
        }
        if (!in_array($status, ['queued', 'running', 'pending', 'processing'], true)) {
            throw new RuntimeException("the export is $status: " . json_encode($job['error'] ?? null));
        }
        sleep(1);
    }
}

/** Write the response to $part; returns size, digest and, of a CSV, rows (line ends outside quotes), and the headers. */
function save(string $version, string $method, string $target, ?array $data, string $part, string $format): array
{
    [$file, $digest, $size, $lines, $quoted] = [fopen($part, 'wb'), hash_init('sha256'), 0, 0, false];
    $write = function (string $chunk) use ($file, $digest, &$size, &$lines, &$quoted): void {
        if (fwrite($file, $chunk) !== strlen($chunk)) {
            throw new RuntimeException('the disk is full');
        }
        hash_update($digest, $chunk);
        $size += strlen($chunk);
        foreach (explode('"', $chunk) as $i => $between) {
            $quoted = $quoted !== ($i > 0);
            $lines += $quoted ? 0 : substr_count($between, "\n");
        }
    };
    $headers = call($version, $method, $target, $data, $write);
    if (!fclose($file)) {
        throw new RuntimeException("$part cannot be written");
    }
    return [[$format === 'csv' ? $lines - 1 : null, $size, hash_final($digest)], $headers];
}

function stream(string $query, string $format, string $part): array
{
    $order = ['source' => ['query' => $query], 'format' => $format];
    [$got, $headers] = save('v2', 'POST', '/v1/stream', $order, $part, $format);
    return [$got, poll('v2', '/v1/exports/' . $headers['x-export-id'])['files'][0]];
}

function export(string $query, string $format, string $part): array
{
    $job_id = ask('v1', 'POST', '/export', ['query' => $query, 'format' => $format])['job_id'];
    $job = poll('v2', "/jobs?id=$job_id"); // v1 signatures would be the same for every job
    return [save('unsigned', 'GET', $job['download_url'], null, $part, $format)[0], $job];
}

/** Fetch the result and give the file its name, if it matches the file the service stored. */
function fetch(string $command, string $query, string $path): void
{
    $part = "$path.part";
    try {
        [[$rows, $size, $sha256], $job] = $command($query, pathinfo($path, PATHINFO_EXTENSION), $part);
        $expected = "{$job['rows']} rows, {$job['bytes']} bytes, sha256 {$job['sha256']}";
        $got = ($rows ?? $job['rows']) . " rows, $size bytes, sha256 $sha256";
        if ($got !== $expected) {
            throw new RuntimeException("this is not the file the service stored: $got arrived; $expected sent");
        }
        rename($part, $path) ?: throw new RuntimeException("$path cannot be written");
        echo "$path: $got\n";
    } finally {
        if (is_file($part)) {
            unlink($part);
        }
    }
}

$arguments = array_slice($argv, 1);
try {
    if ($argc === 3 && $argv[1] === '--selftest') {
        echo selftest($argv[2]), " signatures agree\n";
    } elseif (preg_match('/^(stream|export)$/D', $argv[1] ?? '') && $argc === 4 && setting('FLUXPORT_SECRET')) {
        fetch(...$arguments);
    } else {
        fwrite(STDERR, "usage: FLUXPORT_SECRET=... php export.php stream|export QUERY FILE  or  --selftest VECTORS\n");
        exit(2);
    }
} catch (Throwable $error) {
    fwrite(STDERR, $error->getMessage() . "\n");
    exit(1);
}
