// Sends one message to Telex: signed, and sent again with the same id until it is known to be kept.
//
//	TELEX_URL=http://127.0.0.1:8080 TELEX_SECRET=whsec_… go run examples/send.go message.json
//
// Exit status: 0 kept (202), 1 refused (sending it again changes nothing), 2 gave up.
package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

const (
	attemptsMax    = 10
	attemptTimeout = 15 * time.Second
	waitMax        = time.Minute
	answerBytesMax = 1 << 20
)

// signature is that of Standard Webhooks, over the bytes that are sent: never over JSON that was written anew.
func signature(key []byte, webhookID, timestamp string, body []byte) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(webhookID + "." + timestamp + "."))
	mac.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// attempt makes one request: the status (0 without an answer) and how long Retry-After asks to wait (-1: it does not).
func attempt(client *http.Client, url string, key []byte, webhookID string, body []byte) (int, time.Duration, string) {
	request, err := http.NewRequest(http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return 0, -1, err.Error()
	}
	// New for each attempt: it may be five minutes off at most.
	timestamp := strconv.FormatInt(time.Now().Unix(), 10)
	request.Header.Set("content-type", "application/json")
	request.Header.Set("webhook-id", webhookID)
	request.Header.Set("webhook-timestamp", timestamp)
	request.Header.Set("webhook-signature", signature(key, webhookID, timestamp, body))
	if producer := os.Getenv("TELEX_PRODUCER"); producer != "" {
		request.Header.Set("x-telex-producer", producer)
	}
	response, err := client.Do(request)
	if err != nil {
		return 0, -1, err.Error()
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, answerBytesMax))
	if err != nil {
		return 0, -1, err.Error()
	}
	wait := time.Duration(-1)
	if seconds, err := strconv.Atoi(response.Header.Get("retry-after")); err == nil {
		wait = time.Duration(seconds) * time.Second
	}
	return response.StatusCode, wait, string(answer)
}

func send(url string, key []byte, webhookID string, body []byte) int {
	client := &http.Client{Timeout: attemptTimeout}
	for number := range attemptsMax {
		status, wait, answer := attempt(client, url, key, webhookID, body)
		fmt.Fprintln(os.Stderr, status, strings.TrimSpace(answer))
		if status == http.StatusAccepted {
			return 0
		}
		if status >= 400 && status < 500 && status != http.StatusRequestTimeout && status != http.StatusTooManyRequests {
			return 1
		}
		// 408, 429, 5xx, or no answer: the same again. If the first one was kept, the second has no effect.
		if wait < 0 {
			wait = time.Duration((0.5 + mathrand.Float64()/2) * float64(time.Second) * float64(int(1)<<number))
		}
		time.Sleep(min(waitMax, wait))
	}
	return 2
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: send message.json")
		os.Exit(1)
	}
	body, err := os.ReadFile(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(os.Getenv("TELEX_SECRET"), "whsec_"))
	if err != nil {
		fmt.Fprintln(os.Stderr, "TELEX_SECRET is not whsec_ and base64")
		os.Exit(1)
	}
	webhookID := os.Getenv("TELEX_WEBHOOK_ID")
	if webhookID == "" {
		random := make([]byte, 12)
		rand.Read(random)
		webhookID = "msg_" + hex.EncodeToString(random)
	}
	os.Exit(send(strings.TrimSuffix(os.Getenv("TELEX_URL"), "/")+"/v1/messages", key, webhookID, body))
}
