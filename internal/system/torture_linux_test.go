package system

import (
	"flag"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/homing-mail/homing/internal/dovecot"
)

var (
	tortureKills = flag.Int("torture.kills", 30, "how often each torture kills homing")
	tortureSeed  = flag.Uint64("torture.seed", 0, "of the torture's mail and of its choices; 0: another each time")
	// What two cores can do with four tortures at once, so that the queues are
	// neither empty nor endless.
	tortureRate = flag.Int("torture.rate", 30, "messages a second in each torture")
)

// torture is a number of homings among neighbours that fail.
type torture struct {
	t        *testing.T
	seed     uint64
	rng      *rand.Rand
	dovecot  *dovecot.Server
	lmtp     *lossy
	s3       *weather
	disk     *smallDisk // nil: not of this torture
	beside   *other     // nil: only homing delivers
	replicas []*home
	hooks    *hooks        // nil: they pull
	calm     time.Duration // the longest time between two troubles
	counts   map[string]int
	runs     []*daemon // all that there were
}

// newTorture starts the neighbours. Different tortures of one run have different
// mail.
func newTorture(t *testing.T, version dovecot.Version, number, replicas int) *torture {
	t.Helper()
	seed := *tortureSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("again with: -torture.seed %d -torture.kills %d", seed, *tortureKills)
	seed += uint64(number)
	tt := &torture{t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 0)), calm: time.Second, counts: map[string]int{}}
	options := shipped(t, version, users(crowd...))
	if replicas > 1 {
		options = forReplicas(t, options)
	}
	tt.dovecot = dovecot.Start(t, options)
	tt.lmtp = newLossy(t, seed, tt.dovecot.UnixSocket)
	tt.s3 = newWeather(t, seed)
	for range replicas {
		env := bare(t, tt.lmtp.url()).with(tt.s3.env...).with(
			"HOMING_RECIPIENTS", tortureRules, "HOMING_MAX_MESSAGE", fmt.Sprint(tortureLimit), "HOMING_SWEEP_INTERVAL", "0", "HOMING_LOG_LEVEL", "debug",
			"HOMING_LMTP_EXCLUSIVE", fmt.Sprint(replicas > 1))
		tt.replicas = append(tt.replicas, &home{tb: t, env: env, dovecot: tt.dovecot})
	}
	return tt
}

// start starts a replica, and says where it listens.
func (tt *torture) start(i int) {
	tt.t.Helper()
	tt.replicas[i].restart()
	tt.runs = append(tt.runs, tt.replicas[i].daemon)
	if tt.hooks != nil {
		tt.hooks.moved(i, tt.replicas[i].webhook)
	}
}

// kill kills a replica, half the time once more while it starts.
func (tt *torture) kill() {
	tt.t.Helper()
	i := tt.rng.IntN(len(tt.replicas))
	tt.killed(i)
	if tt.rng.IntN(2) == 0 {
		tt.launchAndKill(i)
	}
	tt.start(i)
}

func (tt *torture) killed(i int) {
	tt.t.Helper()
	if tt.replicas[i].ended() {
		tt.t.Fatalf("homing ended by itself:\n%s", tt.replicas[i].log.tail())
	}
	if tt.hooks != nil {
		tt.hooks.moved(i, "")
	}
	tt.replicas[i].kill()
	tt.counts["kills"]++
}

// launchAndKill starts a replica that has not the time to become one.
func (tt *torture) launchAndKill(i int) {
	tt.t.Helper()
	early := launch(tt.t, tt.replicas[i].env)
	tt.runs = append(tt.runs, early)
	tt.pause(120 * time.Millisecond)
	early.kill()
	tt.counts["kills"]++
}

// pause waits for any time up to most.
func (tt *torture) pause(most time.Duration) {
	<-time.After(time.Duration(tt.rng.Int64N(int64(most))))
}

func (tt *torture) restartDovecot() {
	tt.t.Helper()
	tt.counts["Dovecot restarts"]++
	if tt.rng.IntN(3) == 0 {
		tt.dovecot.Reload(tt.t)
		return
	}
	tt.dovecot.Stop(tt.t)
	tt.pause(time.Second)
	tt.dovecot.Restart(tt.t)
}

func (tt *torture) changeWeather() {
	tt.s3.turn(skies[1+tt.rng.IntN(len(skies)-1)])
	tt.counts["S3 spells"]++
	tt.pause(700 * time.Millisecond)
	if tt.rng.IntN(3) > 0 { // else it lasts
		tt.s3.turn(skies[0])
	}
}

// fillDisk fills the disk to the last byte or until homing takes no more, and
// half the time kills homing meanwhile, which then may not be able to start.
func (tt *torture) fillDisk() {
	tt.t.Helper()
	if err := tt.disk.fill([]int64{0, 100 << 20}[tt.rng.IntN(2)]); err != nil {
		tt.t.Fatal(err)
	}
	tt.counts["full disks"]++
	tt.pause(800 * time.Millisecond)
	dead := tt.rng.IntN(2) == 0
	if dead {
		tt.killed(0)
		tt.launchAndKill(0)
	}
	if err := tt.disk.free(); err != nil {
		tt.t.Fatal(err)
	}
	if dead {
		tt.start(0)
	}
}

// strain makes trouble at random instants until homing was killed often enough.
func (tt *torture) strain(a *announcer) {
	tt.t.Helper()
	for tt.counts["kills"] < *tortureKills && !tt.t.Failed() && !a.isStopping() {
		tt.pause(tt.calm)
		switch die := tt.rng.IntN(20); {
		case die < 12:
			tt.kill()
		case die < 14:
			tt.restartDovecot()
		case die < 18 || tt.disk == nil:
			tt.changeWeather()
		default:
			tt.fillDisk()
		}
	}
	tt.s3.turn(skies[0])
	tt.lmtp.off.Store(true)
}

// finish waits until all mail has found its place, and returns what did. What
// waits for its retry need not wait. left is how many are still somewhere else.
func (tt *torture) finish(a *announcer, left func() int) verdict {
	tt.t.Helper()
	a.stop()
	a.done.Wait()
	if tt.beside != nil {
		tt.beside.end()
	}
	if tt.t.Failed() {
		tt.t.FailNow()
	}
	again := time.NewTicker(time.Second)
	defer again.Stop()
	limit := time.NewTimer(stuck)
	for least := math.MaxInt; ; {
		n := left() + tt.unfinished()
		if n == 0 {
			return tt.judge(a.sent)
		}
		if n < least {
			least = n
			limit.Reset(stuck)
		}
		for _, r := range tt.replicas { // there may be nothing to retry, which is an error
			_, _, _ = command(tt.t, r.env, "queue", "retry", "--state", "pending")
		}
		select {
		case <-again.C:
		case <-limit.C:
			tt.t.Fatalf("%d messages are left: %s", n, tt.pending())
		}
	}
}

// stuck is how long nothing may happen before all is done: a killed replica's
// messages are hidden for a minute, and the machine may be busy.
const stuck = 5 * time.Minute

// report prints the figures.
func (tt *torture) report(a *announcer, v verdict) {
	tt.t.Helper()
	tt.counts["S3 faults"] = int(tt.s3.faults.Load())
	tt.counts["LMTP replies lost"] = int(tt.lmtp.lost.Load())
	if tt.beside != nil {
		tt.counts["messages of another"] = tt.beside.count()
	}
	var done []string
	for _, name := range slices.Sorted(maps.Keys(tt.counts)) {
		done = append(done, fmt.Sprintf("%d %s", tt.counts[name], name))
	}
	tt.t.Logf("Dovecot %s, %d replicas: %d messages, %d notifications taken, %d of them repeated; %s", tt.dovecot.Version, len(tt.replicas),
		a.sent, a.acked, a.repeated, strings.Join(done, ", "))
	tt.t.Logf("%d deliveries, %d copies, %d duplicates, %d held, %d lost", v.deliveries, v.copies, v.duplicates, v.held, v.lost)
}
