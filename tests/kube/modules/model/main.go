// A model server for tests. Whatever the path, it answers with its name:
//
//	?burn=20ms    after so much CPU time (or as -burn says)
//	?take=1s      after so much time
//	?stream=20s   as server-sent events, ten a second, the last of them [DONE]
//
// /metrics has its figures. /health is 200 until POST /health?ready=false. SIGTERM lets running requests end.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"
)

const threadOnly = 1 // RUSAGE_THREAD

var (
	name     = flag.String("name", hostname(), "what it answers")
	listen   = flag.String("listen", ":8000", "address")
	burnt    = flag.Duration("burn", 0, "CPU time per request")
	cert     = flag.String("cert", "", "certificate, to serve TLS")
	key      = flag.String("key", "", "its key")
	grace    = flag.Duration("grace", 30*time.Second, "how long running requests may take after SIGTERM")
	requests atomic.Int64
	inFlight atomic.Int64
	unready  atomic.Bool
)

func main() {
	flag.Parse()
	mux := http.NewServeMux()
	mux.HandleFunc("/", answer)
	mux.HandleFunc("/health", health)
	mux.HandleFunc("/metrics", metrics)
	server := &http.Server{Addr: *listen, Handler: mux}
	ended, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	go func() {
		if err := serve(server); err != http.ErrServerClosed {
			log.Fatal(err)
		}
	}()
	<-ended.Done()
	limited, cancel := context.WithTimeout(context.Background(), *grace)
	defer cancel()
	server.Shutdown(limited)
}

func serve(server *http.Server) error {
	if *cert != "" {
		return server.ListenAndServeTLS(*cert, *key)
	}
	return server.ListenAndServe()
}

func answer(w http.ResponseWriter, r *http.Request) {
	requests.Add(1)
	inFlight.Add(1)
	defer inFlight.Add(-1)
	io.Copy(io.Discard, r.Body)
	w.Header().Set("x-served-by", *name)
	burn(duration(r, "burn", *burnt))
	time.Sleep(duration(r, "take", 0))
	if length := duration(r, "stream", 0); length > 0 {
		stream(w, r, length)
		return
	}
	w.Header().Set("content-type", "application/json")
	json.NewEncoder(w).Encode(map[string]any{
		"served_by": *name, "method": r.Method, "path": r.URL.Path, "host": r.Host, "headers": r.Header,
	})
}

// burn uses CPU time of its thread, so that a throttled or busy machine changes how long it takes, not how much it is.
func burn(wanted time.Duration) {
	if wanted <= 0 {
		return
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for end := used() + wanted; used() < end; {
		for i, x := 0, 1; i < 20000; i++ {
			x = x*1664525 + 1013904223
		}
	}
}

func used() time.Duration {
	var usage syscall.Rusage
	syscall.Getrusage(threadOnly, &usage)
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func stream(w http.ResponseWriter, r *http.Request, length time.Duration) {
	w.Header().Set("content-type", "text/event-stream")
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(length); time.Now().Before(end); {
		fmt.Fprintf(w, "data: {\"served_by\": %q}\n\n", *name)
		w.(http.Flusher).Flush()
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		}
	}
	fmt.Fprint(w, "data: [DONE]\n\n")
}

func health(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost {
		unready.Store(r.URL.Query().Get("ready") == "false")
	}
	if unready.Load() {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	fmt.Fprintln(w, !unready.Load())
}

func metrics(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("content-type", "text/plain; version=0.0.4")
	fmt.Fprintf(w, "# TYPE model_requests_total counter\nmodel_requests_total %d\n", requests.Load())
	fmt.Fprintf(w, "# TYPE model_requests_in_flight gauge\nmodel_requests_in_flight %d\n", inFlight.Load())
}

func duration(r *http.Request, key string, otherwise time.Duration) time.Duration {
	given, err := time.ParseDuration(r.URL.Query().Get(key))
	if err != nil {
		return otherwise
	}
	return given
}

func hostname() string {
	given, _ := os.Hostname()
	return given
}
