package main

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

const silence = 5 * time.Minute // the longest wait for the next byte

var (
	server = env("FLUXPORT_URL", "http://127.0.0.1:8080")
	keyID  = env("FLUXPORT_KEY_ID", "default")
	secret = env("FLUXPORT_SECRET", "")
	client = newClient()
)

// answer is a job as either API describes it: /jobs has the proof at the top, /v1/exports one in every file.
type answer struct {
	proof
	JobID       string          `json:"job_id"`
	Status      string          `json:"status"`
	DownloadURL string          `json:"download_url"`
	Files       []proof         `json:"files"`
	Error       json.RawMessage `json:"error"`
}

// call sends a request signed as v1, v2 or unsigned; the caller closes the response's body.
func call(version, method, target string, data any) (*http.Response, error) {
	var body []byte
	if data != nil {
		body, _ = json.Marshal(data)
	}
	base, err := url.Parse(server)
	if err != nil {
		return nil, err
	}
	address, err := base.Parse(target)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequest(method, address.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	now := time.Now().Unix()
	request.Header.Set("X-Timestamp", strconv.FormatInt(now, 10))
	switch version {
	case "v1":
		request.Header.Set("X-Signature", signV1(secret, method, target, body, now))
	case "v2":
		random := make([]byte, 18)
		if _, err := rand.Read(random); err != nil {
			return nil, err
		}
		nonce := base64.URLEncoding.EncodeToString(random)
		request.Header.Set("X-Key-Id", keyID)
		request.Header.Set("X-Nonce", nonce)
		request.Header.Set("X-Signature", signV2(secret, method, target, body, now, nonce))
	}
	response, err := client.Do(request)
	if err == nil && response.StatusCode >= 300 {
		defer response.Body.Close()
		reason, _ := io.ReadAll(io.LimitReader(response.Body, 500))
		return nil, fmt.Errorf("%s %s: %s %s", method, target, response.Status, reason)
	}
	return response, err
}

// ask is call for a response in JSON.
func ask(version, method, target string, data any) (got answer, err error) {
	response, err := call(version, method, target, data)
	if err != nil {
		return got, err
	}
	defer response.Body.Close()
	return got, json.NewDecoder(response.Body).Decode(&got)
}

// poll polls until the export has ended.
func poll(version, target string) (answer, error) {
	for {
		job, err := ask(version, "GET", target, nil)
		if err != nil {
			return job, err
		}
		switch strings.ToLower(job.Status) {
		case "completed":
			return job, nil
		case "queued", "running", "pending", "processing":
			time.Sleep(time.Second)
		default:
			return job, fmt.Errorf("the export is %s: %s", job.Status, job.Error)
		}
	}
}

func newClient() *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.ResponseHeaderTimeout = silence
	transport.DisableCompression = true // the bytes as hashed
	return &http.Client{Transport: transport}
}

func env(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}
