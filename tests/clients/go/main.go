// Go's net/http, over HTTP/2 and HTTP/1.1: a download, an upload, a refusal.
package main

import (
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
)

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func body(response *http.Response, err error) []byte {
	check(err)
	defer response.Body.Close()
	all, err := io.ReadAll(response.Body)
	check(err)
	return all
}

func main() {
	if os.Args[2] == "HTTP_1_1" {
		transport := http.DefaultTransport.(*http.Transport)
		transport.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
	}
	download, err := http.Get("https://api.good.test/download")
	fmt.Printf("200 %x\n", sha256.Sum256(body(download, err)))
	file, err := os.Open(os.Args[1])
	check(err)
	// A reader of unknown length: chunks, or frames.
	pieces := struct{ io.Reader }{file}
	upload, err := http.Post("https://api.good.test/upload", "application/octet-stream", pieces)
	fmt.Printf("%d %s\n", upload.StatusCode, body(upload, err))
	refused, err := http.Get("https://elsewhere.test/")
	body(refused, err)
	fmt.Printf("%d %s\n", refused.StatusCode, refused.Header.Get("content-type"))
	fmt.Printf("HTTP_%d\n", download.ProtoMajor)
}
