<?php
declare(strict_types=1);

/** FluxQuery's signature: METHOD + PATH + BODY + TIMESTAMP, the path without its query. */
function sign_v1(string $secret, string $method, string $target, string $body, int $timestamp): string
{
    return hash_hmac('sha256', $method . explode('?', $target)[0] . $body . $timestamp, $secret);
}

/** Six lines, among them the query and the body's SHA-256; the nonce makes each request its own. */
function sign_v2(string $secret, string $method, string $target, string $body, int $timestamp, string $nonce): string
{
    $lines = ['v2', $method, $target, $timestamp, $nonce, hash('sha256', $body)];
    return 'v2=' . hash_hmac('sha256', implode("\n", $lines), $secret);
}

/** Check both signatures against the vectors of the service's own tests; returns how many agree. */
function selftest(string $path): int
{
    $vectors = json_decode(file_get_contents($path), true, flags: JSON_THROW_ON_ERROR);
    foreach (['v1', 'v2'] as $version) {
        foreach ($vectors[$version] as $v) {
            $request = [$v['secret'], $v['method'], $v['target'], base64_decode($v['body_base64']), $v['timestamp']];
            $signature = $version === 'v1' ? sign_v1(...$request) : sign_v2(...$request, nonce: $v['nonce']);
            if ($signature !== $v['signature']) {
                throw new RuntimeException("$version vector '{$v['name']}' differs");
            }
        }
    }
    return count($vectors['v1']) + count($vectors['v2']);
}
