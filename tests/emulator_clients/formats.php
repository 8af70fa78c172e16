<?php
// Reads the table of all types with mysqli as text and as binary rows: arguments are host, port, user, password.
[, $host, $port, $user, $password] = $argv;
mysqli_report(MYSQLI_REPORT_ERROR | MYSQLI_REPORT_STRICT);

$connection = mysqli_init();
$connection->options(MYSQLI_OPT_INT_AND_FLOAT_NATIVE, true);
$connection->real_connect($host, $user, $password, 'app', (int) $port);

function rows(mysqli_result $result): array
{
    $rows = [];
    while ($row = $result->fetch_assoc()) {
        $row['raw'] = $row['raw'] === null ? null : bin2hex($row['raw']);
        $rows[] = $row;
    }
    return $rows;
}

$sql = 'SELECT *, id + 1 AS next, price * 2 AS twice, id = 1 AS one FROM kinds ORDER BY id';
$text = rows($connection->query($sql));
$statement = $connection->prepare($sql);
$statement->execute();
$binary = rows($statement->get_result());
echo json_encode(['text' => $text, 'binary' => $binary], JSON_THROW_ON_ERROR), "\n";
