// Export a query to a file and prove that it is complete. Go 1.19 or later, standard library only.
//
//	export FLUXPORT_URL=http://127.0.0.1:8080 FLUXPORT_SECRET=...  # and FLUXPORT_KEY_ID unless it is "default"
//	go run . stream "SELECT * FROM users" users.csv    # POST /v1/stream: the response is the file
//	go run . export "SELECT * FROM users" users.xlsx   # POST /export: a job, polled, then downloaded
//	go run . --selftest ../signing_vectors.json        # check the signatures against the vectors
//
// The file's suffix is the format. The file gets its name only if rows, bytes and SHA-256 match the service's.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

func main() {
	arguments := os.Args[1:]
	var err error
	switch {
	case len(arguments) == 2 && arguments[0] == "--selftest":
		err = selftest(arguments[1])
	case len(arguments) == 3 && arguments[0] == "stream" && secret != "":
		err = fetch(stream, arguments[1], arguments[2])
	case len(arguments) == 3 && arguments[0] == "export" && secret != "":
		err = fetch(export, arguments[1], arguments[2])
	default:
		fmt.Fprintln(os.Stderr, "usage: FLUXPORT_SECRET=... go run . stream|export QUERY FILE  or  --selftest VECTORS")
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// transfer fetches a query's result into the file part and returns what arrived and what the service sent.
type transfer func(query, format, part string) (got, expected proof, err error)

func stream(query, format, part string) (got, expected proof, err error) {
	order := map[string]any{"source": map[string]string{"query": query}, "format": format}
	response, err := call("v2", "POST", "/v1/stream", order)
	if err != nil {
		return got, expected, err
	}
	if got, err = save(response, part, format); err != nil {
		return got, expected, err
	}
	answer, err := poll("v2", "/v1/exports/"+response.Header.Get("X-Export-Id"))
	if err == nil && len(answer.Files) != 1 {
		err = fmt.Errorf("one file arrived, the service reports %d", len(answer.Files))
	}
	if err != nil {
		return got, expected, err
	}
	return got, answer.Files[0], nil
}

func export(query, format, part string) (got, expected proof, err error) {
	created, err := ask("v1", "POST", "/export", map[string]string{"query": query, "format": format})
	if err != nil {
		return got, expected, err
	}
	answer, err := poll("v2", "/jobs?id="+created.JobID) // v1 signatures would be the same for every job
	if err != nil {
		return got, expected, err
	}
	response, err := call("unsigned", "GET", answer.DownloadURL, nil) // the link includes its token
	if err != nil {
		return got, expected, err
	}
	got, err = save(response, part, format)
	return got, answer.proof, err
}

// fetch gives the file its name, if it matches the file the service stored.
func fetch(bring transfer, query, path string) error {
	part := path + ".part"
	defer os.Remove(part)
	got, expected, err := bring(query, strings.TrimPrefix(filepath.Ext(path), "."), part)
	if err != nil {
		return err
	}
	if got.Rows == unknown {
		got.Rows = expected.Rows
	}
	if got != expected {
		return fmt.Errorf("this is not the file the service stored: %+v arrived, %+v was sent", got, expected)
	}
	if err := os.Rename(part, path); err != nil {
		return err
	}
	fmt.Printf("%s: %d rows, %d bytes, sha256 %s\n", path, got.Rows, got.Bytes, got.SHA256)
	return nil
}
