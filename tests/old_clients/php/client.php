<?php
// A FluxQuery client as people wrote it: json_encode escapes slashes and code points, null stands for nothing.

$api = getenv('API_URL');
$secret = getenv('API_SECRET');

$body = json_encode(['query' => $argv[1], 'email' => null, 'format' => $argv[2] ?? null]);
$timestamp = (string) time();
$signature = hash_hmac('sha256', 'POST' . '/export' . $body . $timestamp, $secret);

$answer = file_get_contents($api . '/export', false, stream_context_create(['http' => [
    'method' => 'POST',
    'header' => "Content-Type: application/json\r\nX-Timestamp: $timestamp\r\nX-Signature: $signature\r\n",
    'content' => $body,
    'ignore_errors' => true,
]]));
if (!preg_match('#^HTTP/\S+ 202 #', $http_response_header[0])) {
    fwrite(STDERR, "export refused: {$http_response_header[0]} $answer\n");
    exit(1);
}
$job_id = json_decode($answer)->job_id;
echo "job $job_id\n";

do {
    $job = json_decode(file_get_contents($api . '/jobs?id=' . urlencode($job_id)));
    $running = in_array($job->status, ['PENDING', 'PROCESSING']);
    if ($running) {
        usleep(500000);
    }
} while ($running);

if ($job->status !== 'COMPLETED') {
    fwrite(STDERR, "status {$job->status}\n");
    exit(1);
}
echo "status {$job->status}\n";
