package top

import (
	"fmt"
	"math"
	"time"

	"github.com/wcfs/wcfs/internal/serve/terminal"
)

// figure is a number that is shown of a server.
type figure struct {
	group, name string // in JSON; group is also what the line begins with
	text        string // of the screen, with %s for the number
	value       value
	show        func(float64) string
	alarm       func(float64) bool // whether that is not as it should be; may be nil
}

// value makes the number. ok is false if it cannot be told, as a rate without two looks.
type value func(w *watched) (v float64, ok bool)

// figures are all of them, in the order of the screen.
var figures = []figure{
	{"head", "lag_seconds", "%s behind", gauge("head_lag_seconds"), age, above(lagAlarm)},
	{"head", "age_seconds", "%s old", headAge, age, nil},
	{"commits", "per_second", "%s/s", rate("invalidations_total", "kind", "tx"), short, nil},
	{"commits", "seconds", "%s each", mean("invalidation_duration_seconds"), took, nil},
	{"commits", "waiting", "%s waiting", gauge("zwatch_queue_depth"), short, above(queueAlarm)},
	{"reads", "per_second", "%s/s", rate("fuse_requests_total", "op", "read"), short, nil},
	{"reads", "head_bytes_per_second", "%s/s of head", rate("read_bytes_total", "view", "head"), size, nil},
	{"reads", "past_bytes_per_second", "%s/s of the past", rate("read_bytes_total", "view", "rev"), size, nil},
	{"reads", "seconds", "%s each", mean("fuse_request_duration_seconds", "op", "read"), took, nil},
	{"reads", "under_way", "%s under way", gauge("head_reads"), short, nil},
	{"reads", "waiting_for_clients", "%s wait for clients", gauge("head_reads_waiting"), short, above(0)},
	{"reads", "errors_per_second", "%s errors/s", less(rate("fuse_requests_total", "op", "read"), rate("fuse_requests_total", "op", "read", "errno", "OK")), short, above(0)},
	{"blocks", "loaded_per_second", "%s/s loaded", rate("block_loads_total", "source", "zodb"), short, nil},
	{"blocks", "seconds", "%s each", mean("block_load_duration_seconds"), took, nil},
	{"blocks", "preserved_per_second", "%s/s of old content", rate("block_loads_total", "source", "preserved"), short, nil},
	{"blocks", "failed_per_second", "%s failed/s", rate("block_load_errors_total"), short, above(0)},
	{"cache", "kept_blocks", "%s blocks kept", gauge("served_blocks"), short, nil},
	{"cache", "changed_per_second", "%s/s changed", rate("invalidations_total", "kind", "block"), short, nil},
	{"cache", "evicted_per_second", "%s/s too many", rate("evictions_total"), short, nil},
	{"cache", "preserved_bytes", "%s of old content", gauge("preserved_bytes"), size, nil},
	{"cache", "node_bytes", "%s of nodes", gauge("zodb_cache_bytes"), size, nil},
	{"clients", "links", "%s links", gauge("watchlinks"), short, nil},
	{"clients", "watches", "%s watches", gauge("watches"), short, nil},
	{"clients", "pinned_blocks", "%s blocks pinned", gauge("pinned_blocks"), short, nil},
	{"clients", "pins_per_second", "%s pins/s", rate("pins_total"), short, nil},
	{"clients", "pin_seconds", "%s each", mean("pin_duration_seconds"), took, above(pinAlarm)},
	{"clients", "killed", "%s killed", gauge("clients_killed_total"), short, nil},
	{"clients", "killed_now", "%s just now", grown("clients_killed_total"), short, above(0)},
	{"storage", "loads_per_second", "%s/s loads", rate("storage_requests_total", "op", "load"), short, nil},
	{"storage", "seconds", "%s each", mean("storage_request_duration_seconds", "op", "load"), took, nil},
	{"storage", "errors_per_second", "%s errors/s", rate("storage_requests_total", "result", "error"), short, above(0)},
	{"storage", "away_seconds", "away for %s", gauge("storage_disconnected_seconds"), age, above(0)},
	{"process", "memory_bytes", "%s", gauge("process_resident_memory_bytes"), size, nil},
	{"process", "cpu", "%s cpu", rate("process_cpu_seconds_total"), percent, nil},
	{"process", "descriptors", "%s descriptors", gauge("process_open_fds"), short, nil},
}

const (
	lagAlarm   = 10 // seconds, as for /readyz
	queueAlarm = 10 // transactions
	pinAlarm   = 1  // seconds
)

func above(limit float64) func(float64) bool { return func(v float64) bool { return v > limit } }

// gauge is a metric as it is now.
func gauge(name string, labels ...string) value {
	return func(w *watched) (float64, bool) { return w.now.metrics.sum(name, labels...) }
}

// grown is how much a counter has become more between the looks.
func grown(name string, labels ...string) value {
	return func(w *watched) (float64, bool) {
		if !w.comparable() {
			return 0, false
		}
		// A series that comes into being begins with 0.
		now, _ := w.now.metrics.sum(name, labels...)
		last, _ := w.last.metrics.sum(name, labels...)
		return max(0, now-last), true
	}
}

// rate is grown in a second.
func rate(name string, labels ...string) value {
	more := grown(name, labels...)
	return func(w *watched) (float64, bool) {
		v, ok := more(w)
		if !ok {
			return 0, false
		}
		return v / w.seconds(), true
	}
}

// mean is how many seconds something took, in the mean between the looks.
func mean(name string, labels ...string) value {
	return func(w *watched) (float64, bool) {
		if !w.comparable() {
			return 0, false
		}
		n, sum, _ := w.now.metrics.times(name, labels...)
		lastN, lastSum, _ := w.last.metrics.times(name, labels...)
		if n <= lastN {
			return 0, false
		}
		return max(0, sum-lastSum) / (n - lastN), true
	}
}

// less is a difference.
func less(a, b value) value {
	return func(w *watched) (float64, bool) {
		x, ok := a(w)
		y, also := b(w)
		return max(0, x-y), ok && also
	}
}

// headAge is how old the newest transaction is.
func headAge(w *watched) (float64, bool) {
	committed, ok := w.now.metrics.sum("head_tid")
	if !ok || committed == 0 {
		return 0, false
	}
	return max(0, float64(w.now.at.UnixMicro())/1e6-committed), true
}

// comparable reports whether there are two looks of one process.
func (w *watched) comparable() bool {
	if w.last == nil || w.seconds() <= 0 {
		return false
	}
	now, _ := w.now.metrics.sum("start_time_seconds")
	last, _ := w.last.metrics.sum("start_time_seconds")
	return now == last
}

// seconds is how much time is between the looks.
func (w *watched) seconds() float64 { return w.now.at.Sub(w.last.at).Seconds() }

// short shows a number in few digits.
func short(v float64) string {
	if v >= 1e4 {
		i := 0
		for ; v >= 999.5 && i < len(thousands)-1; i++ {
			v /= 1000
		}
		return fmt.Sprintf("%.3g%c", v, thousands[i])
	}
	if v == math.Trunc(v) || v >= 100 {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.2g", v)
}

const thousands = " kMGTPE"

func size(v float64) string { return terminal.Size(int64(v)) }

func percent(v float64) string { return fmt.Sprintf("%.0f%%", 100*v) }

// took shows the seconds that something took.
func took(v float64) string {
	switch {
	case v >= 1:
		return fmt.Sprintf("%.1f s", v)
	case v >= 1e-3:
		return short(math.Round(v*1e4)/10) + " ms"
	}
	return short(math.Round(v*1e6)) + " us"
}

// age shows how long ago something was.
func age(v float64) string {
	d := time.Duration(v * float64(time.Second))
	switch {
	case d > 0 && d < 10*time.Second:
		return fmt.Sprintf("%.1f s", v)
	case d < time.Minute:
		return fmt.Sprintf("%.0f s", v)
	case d < time.Hour:
		return fmt.Sprintf("%d min", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h %d min", d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%d days", d/(24*time.Hour))
}
