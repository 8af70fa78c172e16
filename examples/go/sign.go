package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// signV1 is FluxQuery's signature: METHOD + PATH + BODY + TIMESTAMP, the path without its query.
func signV1(secret, method, target string, body []byte, timestamp int64) string {
	path, _, _ := strings.Cut(target, "?")
	return hmacHex(secret, method+path+string(body)+strconv.FormatInt(timestamp, 10))
}

// signV2 signs six lines, among them the query and the body's SHA-256; the nonce makes each request its own.
func signV2(secret, method, target string, body []byte, timestamp int64, nonce string) string {
	digest := sha256.Sum256(body)
	lines := []string{"v2", method, target, strconv.FormatInt(timestamp, 10), nonce, hex.EncodeToString(digest[:])}
	return "v2=" + hmacHex(secret, strings.Join(lines, "\n"))
}

func hmacHex(secret, message string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(message))
	return hex.EncodeToString(mac.Sum(nil))
}

type vector struct {
	Name, Secret, Method, Target, Nonce, Signature string
	Timestamp                                      int64
	Body                                           []byte `json:"body_base64"`
}

func selftest(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var vectors struct{ V1, V2 []vector }
	if err := json.Unmarshal(text, &vectors); err != nil {
		return err
	}
	for _, v := range vectors.V1 {
		if signV1(v.Secret, v.Method, v.Target, v.Body, v.Timestamp) != v.Signature {
			return fmt.Errorf("v1 vector %q differs", v.Name)
		}
	}
	for _, v := range vectors.V2 {
		if signV2(v.Secret, v.Method, v.Target, v.Body, v.Timestamp, v.Nonce) != v.Signature {
			return fmt.Errorf("v2 vector %q differs", v.Name)
		}
	}
	fmt.Printf("%d signatures agree\n", len(vectors.V1)+len(vectors.V2))
	return nil
}
