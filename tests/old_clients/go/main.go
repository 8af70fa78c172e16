// A FluxQuery client as people wrote it: typed structs, zero values sent as they are, times parsed as time.Time.
package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strconv"
	"time"
)

type ExportRequest struct {
	Query  string `json:"query"`
	Email  string `json:"email"`
	Format string `json:"format"`
}

type ExportResponse struct {
	JobID string `json:"job_id"`
}

type JobStatus struct {
	ID          string     `json:"id"`
	Status      string     `json:"status"`
	Error       string     `json:"error"`
	CreatedAt   time.Time  `json:"created_at"`
	CompletedAt *time.Time `json:"completed_at"`
}

func sign(secret, method, path string, body []byte, timestamp string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(method + path + string(body) + timestamp))
	return hex.EncodeToString(mac.Sum(nil))
}

func main() {
	api, secret := os.Getenv("API_URL"), os.Getenv("API_SECRET")
	export := ExportRequest{Query: os.Args[1]}
	if len(os.Args) > 2 {
		export.Format = os.Args[2]
	}
	body, err := json.Marshal(export)
	if err != nil {
		log.Fatal(err)
	}
	timestamp := strconv.FormatInt(time.Now().Unix(), 10)
	req, err := http.NewRequest("POST", api+"/export", bytes.NewBuffer(body))
	if err != nil {
		log.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Timestamp", timestamp)
	req.Header.Set("X-Signature", sign(secret, "POST", "/export", body, timestamp))
	resp, err := (&http.Client{Timeout: 30 * time.Second}).Do(req)
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusAccepted {
		text, _ := io.ReadAll(resp.Body)
		log.Fatalf("export refused: %d %s", resp.StatusCode, text)
	}
	var created ExportResponse
	if err := json.NewDecoder(resp.Body).Decode(&created); err != nil {
		log.Fatal(err)
	}
	fmt.Println("job", created.JobID)
	for {
		resp, err := http.Get(api + "/jobs?id=" + created.JobID)
		if err != nil {
			log.Fatal(err)
		}
		var job JobStatus
		err = json.NewDecoder(resp.Body).Decode(&job)
		resp.Body.Close()
		if err != nil {
			log.Fatal(err)
		}
		switch job.Status {
		case "PENDING", "PROCESSING":
			time.Sleep(500 * time.Millisecond)
		case "COMPLETED":
			fmt.Println("status", job.Status)
			return
		default:
			log.Fatalf("status %s", job.Status)
		}
	}
}
