<?php
// Reads the emulator with mysqli and PDO: arguments are host, port, user, password, and "tls" or "plain".
[, $host, $port, $user, $password, $mode] = $argv;
mysqli_report(MYSQLI_REPORT_ERROR | MYSQLI_REPORT_STRICT);

$connection = mysqli_init();
$flags = 0;
if ($mode === 'tls') {
    $connection->ssl_set(null, null, null, null, null);
    $connection->options(MYSQLI_OPT_SSL_VERIFY_SERVER_CERT, false);
    $flags = MYSQLI_CLIENT_SSL | MYSQLI_CLIENT_SSL_DONT_VERIFY_SERVER_CERT;
}
$connection->real_connect($host, $user, $password, 'app', (int) $port, null, $flags);

$answer = ['rows' => 0, 'ids' => 0, 'scores' => 0.0];
$result = $connection->query('SELECT id, name, email, created_at, score FROM users', MYSQLI_USE_RESULT);
while ($row = $result->fetch_row()) {
    if ($answer['rows'] === 0) {
        $answer['first'] = [(int) $row[0], $row[1], $row[2], $row[3], (float) $row[4]];
    }
    $answer['rows']++;
    $answer['ids'] += (int) $row[0];
    $answer['scores'] += (float) $row[4];
}
$result->free();

$statement = $connection->prepare('SELECT COUNT(*), CAST(SUM(id) AS SIGNED) FROM users WHERE id <= ? AND name <> ?');
$limit = 1000;
$name = 'User7';
$statement->bind_param('is', $limit, $name);
$statement->execute();
$statement->bind_result($count, $sum);
$statement->fetch();
$answer['prepared'] = [$count, $sum];
$statement->close();

$statement = $connection->prepare('SELECT ?, NULL');
$text = "snow \u{2603} and 'quotes'";
$statement->bind_param('s', $text);
$statement->execute();
[$answer['text'], $null] = $statement->get_result()->fetch_row();
$answer['null'] = $null === null;

try {
    $connection->query('DELETE FROM users');
} catch (mysqli_sql_exception $error) {
    $answer['write'] = (string) $error->getCode();
}
$answer['cipher'] = $connection->query("SHOW STATUS LIKE 'Ssl_cipher'")->fetch_row()[1];
$connection->begin_transaction(MYSQLI_TRANS_START_READ_ONLY);
$answer['count'] = (int) $connection->query('SELECT COUNT(*) FROM users')->fetch_row()[0];
$connection->commit();
$connection->close();

foreach ([true, false] as $emulated) {
    $options = [
        PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION,
        PDO::ATTR_EMULATE_PREPARES => $emulated,
        PDO::MYSQL_ATTR_USE_BUFFERED_QUERY => false,
    ];
    if ($mode === 'tls') {
        $options[PDO::MYSQL_ATTR_SSL_CA] = '';
        $options[PDO::MYSQL_ATTR_SSL_VERIFY_SERVER_CERT] = false;
    }
    $pdo = new PDO("mysql:host=$host;port=$port;dbname=app;charset=utf8mb4", $user, $password, $options);
    $statement = $pdo->prepare('SELECT id, score FROM users WHERE id <= :top');
    $statement->execute(['top' => 100000]);
    $scores = 0.0;
    foreach ($statement as $row) {
        $scores += (float) $row['score'];
    }
    $answer['pdo_cipher'] = $pdo->query("SHOW STATUS LIKE 'Ssl_cipher'")->fetchAll(PDO::FETCH_NUM)[0][1];
    $answer[$emulated ? 'pdo_text' : 'pdo_binary'] = $scores;
}
echo json_encode($answer), "\n";
