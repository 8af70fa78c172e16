// Reads the emulator with go-sql-driver: arguments are the DSN, answers go out as one line of JSON.
package main

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"os"

	_ "github.com/go-sql-driver/mysql"
)

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	db, err := sql.Open("mysql", os.Args[1])
	check(err)
	db.SetMaxOpenConns(1)
	answer := map[string]interface{}{}

	var rows, ids int64
	var scores float64
	stream, err := db.Query("SELECT id, name, email, created_at, score FROM users")
	check(err)
	for stream.Next() {
		var id int64
		var name, email, createdAt string
		var score float64
		check(stream.Scan(&id, &name, &email, &createdAt, &score))
		if rows == 0 {
			answer["first"] = []interface{}{id, name, email, createdAt, score}
		}
		rows++
		ids += id
		scores += score
	}
	check(stream.Err())
	answer["rows"], answer["ids"], answer["scores"] = rows, ids, scores

	var count, sum int64
	check(db.QueryRow("SELECT COUNT(*), CAST(SUM(id) AS SIGNED) FROM users WHERE id <= ? AND name <> ?", 1000, "User7").Scan(&count, &sum))
	answer["prepared"] = []int64{count, sum}

	var text string
	var none sql.NullString
	check(db.QueryRow("SELECT ?, NULL", "snow \u2603 and 'quotes'").Scan(&text, &none))
	answer["text"], answer["null"] = text, !none.Valid

	_, err = db.Exec("DELETE FROM users")
	answer["write"] = fmt.Sprint(err)

	var name, cipher string
	check(db.QueryRow("SHOW STATUS LIKE 'Ssl_cipher'").Scan(&name, &cipher))
	answer["cipher"] = cipher

	tx, err := db.Begin()
	check(err)
	check(tx.QueryRow("SELECT COUNT(*) FROM users").Scan(&count))
	check(tx.Commit())
	answer["count"] = count
	check(json.NewEncoder(os.Stdout).Encode(answer))
}
