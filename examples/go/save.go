package main

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"os"
	"time"
)

const unknown = -1 // the row count of a file that only the service can count

// proof is what identifies a finished file.
type proof struct {
	Rows   int64  `json:"rows"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// save writes the response's body to path and returns what arrived.
func save(response *http.Response, path, format string) (proof, error) {
	defer response.Body.Close()
	file, err := os.Create(path)
	if err != nil {
		return proof{}, err
	}
	defer file.Close()
	watch := time.AfterFunc(silence, func() { response.Body.Close() })
	defer watch.Stop()
	digest, count := sha256.New(), &lineCounter{watch: watch}
	size, err := io.Copy(io.MultiWriter(file, digest, count), response.Body)
	if err != nil {
		return proof{}, err
	}
	rows := int64(unknown)
	if format == "csv" {
		rows = count.lines - 1 // the header
	}
	return proof{rows, size, hex.EncodeToString(digest.Sum(nil))}, file.Close()
}

// lineCounter counts line ends outside quotes and resets the watchdog with every chunk.
type lineCounter struct {
	lines  int64
	quoted bool
	watch  *time.Timer
}

func (c *lineCounter) Write(chunk []byte) (int, error) {
	c.watch.Reset(silence)
	for _, b := range chunk {
		if b == '"' {
			c.quoted = !c.quoted
		} else if b == '\n' && !c.quoted {
			c.lines++
		}
	}
	return len(chunk), nil
}
