<?php
declare(strict_types=1);

require __DIR__ . '/signing.php';

const SILENCE_S = 300; // the longest wait for the next byte

function setting(string $name, string $otherwise = ''): string
{
    return getenv($name) ?: $otherwise;
}

/** @return string[] the headers of a request signed as $version says: v1, v2 or unsigned */
function headers(string $version, string $method, string $target, string $body): array
{
    [$secret, $now, $nonce] = [setting('FLUXPORT_SECRET'), time(), bin2hex(random_bytes(16))];
    $key_id = setting('FLUXPORT_KEY_ID', 'default');
    return ['Content-Type: application/json', ...match ($version) {
        'v1' => ["X-Timestamp: $now", 'X-Signature: ' . sign_v1($secret, $method, $target, $body, $now)],
        'v2' => ["X-Key-Id: $key_id", "X-Timestamp: $now", "X-Nonce: $nonce",
                 'X-Signature: ' . sign_v2($secret, $method, $target, $body, $now, $nonce)],
        'unsigned' => [],
    }];
}

/** Send a request, hand the body to $write(string $chunk) as it arrives; the response's headers by lowercase name. */
function call(string $version, string $method, string $target, ?array $data, callable $write): array
{
    $body = $data === null ? '' : json_encode($data, JSON_THROW_ON_ERROR);
    $url = preg_match('#^https?://#', $target) ? $target : setting('FLUXPORT_URL', 'http://127.0.0.1:8080') . $target;
    [$curl, $answer, $reason] = [curl_init($url), [], ''];
    curl_setopt_array($curl, [
        CURLOPT_CUSTOMREQUEST => $method,
        CURLOPT_HTTPHEADER => headers($version, $method, $target, $body),
        CURLOPT_CONNECTTIMEOUT => 10,
        CURLOPT_LOW_SPEED_LIMIT => 1,
        CURLOPT_LOW_SPEED_TIME => SILENCE_S,
        CURLOPT_HEADERFUNCTION => function ($curl, string $line) use (&$answer): int {
            [$name, $value] = explode(':', $line, 2) + [1 => ''];
            $answer[strtolower($name)] = trim($value);
            return strlen($line);
        },
        CURLOPT_WRITEFUNCTION => function ($curl, string $chunk) use ($write, &$reason): int {
            if (curl_getinfo($curl, CURLINFO_RESPONSE_CODE) < 300) {
                $write($chunk);
            } else {
                $reason .= $chunk;
            }
            return strlen($chunk);
        },
    ] + ($body === '' ? [] : [CURLOPT_POSTFIELDS => $body]));
    if (!curl_exec($curl)) {
        throw new RuntimeException("$method $target: " . curl_error($curl));
    }
    if (($status = curl_getinfo($curl, CURLINFO_RESPONSE_CODE)) >= 300) {
        throw new RuntimeException("$method $target: $status " . substr($reason, 0, 500));
    }
    return $answer;
}

function ask(string $version, string $method, string $target, ?array $data = null): array
{
    $text = '';
    call($version, $method, $target, $data, function (string $chunk) use (&$text): void { $text .= $chunk; });
    return json_decode($text, true, flags: JSON_THROW_ON_ERROR);
}
