package server

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/golang/glog"
	"golang.org/x/net/netutil"

	"github.com/wcfs/wcfs/internal/serve/observe"
)

const (
	headerTimeout  = 5 * time.Second // to send the head of a request
	metricsTimeout = 30 * time.Second
	profileTimeout = 10 * time.Minute // longest profile that can be asked for
	idleTimeout    = time.Minute      // of a connection between requests
	closeTimeout   = time.Second      // for requests that are being answered at the end
	maxHeaderBytes = 16 << 10
	maxSocketPath  = 107 // sockaddr_un
	maxConnections = 64  // to one address; more wait
)

// Address is where to listen for HTTP.
type Address struct {
	network string // tcp or unix
	addr    string
}

// ParseAddress understands host:port, where the host may be left out for all of
// the machine, and unix:PATH.
func ParseAddress(text string) (Address, error) {
	if path, ok := strings.CutPrefix(text, "unix:"); ok {
		if path == "" || len(path) > maxSocketPath {
			return Address{}, fmt.Errorf("the path of a socket has 1 to %d bytes, this one %d", maxSocketPath, len(path))
		}
		return Address{"unix", path}, nil
	}
	_, port, err := net.SplitHostPort(text)
	if err != nil {
		return Address{}, fmt.Errorf("%q is not HOST:PORT or unix:PATH", text)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return Address{}, fmt.Errorf("%q is not a port", port)
	}
	return Address{"tcp", text}, nil
}

func (a Address) String() string {
	if a.network == "unix" {
		return "unix:" + a.addr
	}
	return a.addr
}

// listen starts to listen. A socket that a server has left which did not end in
// order is removed.
func (a Address) listen(what string) (net.Listener, error) {
	l, err := net.Listen(a.network, a.addr)
	if errors.Is(err, syscall.EADDRINUSE) && a.network == "unix" && a.isDead() {
		_ = os.Remove(a.addr)
		l, err = net.Listen(a.network, a.addr)
	}
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%s: somebody listens at %s already; choose another address, or end that program", what, a)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return l, nil
}

// isDead reports whether nobody listens at a socket.
func (a Address) isDead() bool {
	info, err := os.Lstat(a.addr)
	if err != nil || info.Mode().Type() != os.ModeSocket {
		return false
	}
	conn, err := net.DialTimeout(a.network, a.addr, headerTimeout)
	if err == nil {
		_ = conn.Close()
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}

// web is the HTTP servers of a server.
type web struct {
	metrics, pprof net.Listener // nil: there is none

	mu      sync.Mutex
	servers []*http.Server
	running sync.WaitGroup
}

// listenHTTP listens where the options say, and nowhere by default.
func listenHTTP(opt *Options) (*web, error) {
	w := &web{}
	var err error
	if opt.Metrics != nil {
		if w.metrics, err = opt.Metrics.listen("--metrics"); err != nil {
			return nil, err
		}
	}
	if opt.PProf != nil {
		if w.pprof, err = opt.PProf.listen("--pprof"); err != nil {
			w.close()
			return nil, err
		}
	}
	return w, nil
}

// serve starts to answer. The goroutines end with close.
func (w *web) serve(observer *observe.Observer, checks *observe.Checks) {
	if w.metrics != nil {
		w.start("metrics", w.metrics, metricsMux(observer, checks), metricsTimeout)
	}
	if w.pprof != nil {
		w.start("profiles", w.pprof, pprofMux(), profileTimeout)
	}
}

func (w *web) start(what string, l net.Listener, handler http.Handler, timeout time.Duration) {
	glog.Infof("%s at %s", what, l.Addr())
	srv := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       headerTimeout,
		WriteTimeout:      timeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          log.New(glogWriter{}, "", 0),
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.servers = append(w.servers, srv)
	w.running.Go(func() {
		if err := srv.Serve(netutil.LimitListener(l, maxConnections)); !errors.Is(err, http.ErrServerClosed) {
			glog.Errorf("%s at %s: %s", what, l.Addr(), err)
		}
	})
}

// close ends it all. A socket is removed with its listener.
func (w *web) close() {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	for _, srv := range w.servers {
		if srv.Shutdown(ctx) != nil {
			_ = srv.Close()
		}
	}
	for _, l := range []net.Listener{w.metrics, w.pprof} {
		if l != nil {
			_ = l.Close() // if nothing was served; else it is closed already
		}
	}
	w.running.Wait()
}

func metricsMux(observer *observe.Observer, checks *observe.Checks) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", observer.Handler())
	mux.Handle("GET /healthz", observe.AliveHandler())
	mux.Handle("GET /readyz", checks)
	return mux
}

func pprofMux() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}
