// Reads the table of all types with mysql2 as text and as binary rows: arguments are host, port, user, password.
const mysql = require('mysql2/promise');

const [host, port, user, password] = process.argv.slice(2);

async function main() {
  const connection = await mysql.createConnection({
    host,
    port: Number(port),
    user,
    password,
    database: 'app',
    dateStrings: true,
    supportBigNumbers: true,
    bigNumberStrings: true,
  });
  const sql = 'SELECT *, id + 1 AS next, price * 2 AS twice, id = 1 AS one FROM kinds ORDER BY id';
  const [text] = await connection.query(sql);
  const [binary] = await connection.execute(sql);
  await connection.end();
  console.log(JSON.stringify({ text, binary }));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
