// Reads the emulator with mysql2: arguments are host, port, user, password, and "tls" or "plain".
const mysql = require('mysql2');

const [host, port, user, password, mode] = process.argv.slice(2);
const options = { host, port: Number(port), user, password, database: 'app', dateStrings: true };
if (mode === 'tls') options.ssl = { rejectUnauthorized: false };

function stream(connection) {
  return new Promise((resolve, reject) => {
    const found = { rows: 0, ids: 0, scores: 0 };
    connection
      .query('SELECT id, name, email, created_at, score FROM users')
      .stream({ highWaterMark: 1000 })
      .on('data', (row) => {
        if (found.rows === 0) found.first = [row.id, row.name, row.email, row.created_at, row.score];
        found.rows += 1;
        found.ids += row.id;
        found.scores += row.score;
      })
      .on('error', reject)
      .on('end', () => resolve(found));
  });
}

async function main() {
  const connection = mysql.createConnection(options);
  const answer = await stream(connection);
  const [prepared] = await connection
    .promise()
    .execute('SELECT COUNT(*) AS n, CAST(SUM(id) AS SIGNED) AS s FROM users WHERE id <= ? AND name <> ?', [1000, 'User7']);
  answer.prepared = [prepared[0].n, prepared[0].s];
  const [text] = await connection.promise().execute('SELECT ? AS t, NULL AS n', ["snow \u2603 and 'quotes'"]);
  answer.text = text[0].t;
  answer.null = text[0].n === null;
  answer.write = await connection.promise().query('DELETE FROM users').catch((error) => `${error.errno}`);
  const [status] = await connection.promise().query("SHOW STATUS LIKE 'Ssl_cipher'");
  answer.cipher = status[0].Value;
  await connection.promise().beginTransaction();
  const [count] = await connection.promise().query('SELECT COUNT(*) AS n FROM users');
  await connection.promise().commit();
  answer.count = count[0].n;
  await connection.promise().end();
  console.log(JSON.stringify(answer));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
