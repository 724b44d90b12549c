package logs

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"github.com/kfdev/kfdev/internal/fault"
)

func TestFollowGoesOnWithTheNextLifeFromItsStart(t *testing.T) {
	t.Parallel()
	f := newFake(podOf("a", runs("main", "1")))
	first := f.lives("a/main", "old", "one")
	r := start(t, f, Options{Follow: true, Tail: 1})
	r.comes(t, "a/main one")
	first.write("two")
	r.comes(t, "a/main two")

	f.lives("a/main", "three", "four")
	first.end()
	f.events <- event{pod: podOf("a", restarted(waits("main", "CrashLoopBackOff"), "1"))}
	f.events <- event{pod: podOf("a", restarted(runs("main", "2"), "1"))}
	r.comes(t, "a/main four")
	r.stop(t)
	require.Equal(t, []string{"a/main one", "a/main two", "a/main three", "a/main four"}, r.got())
	require.Empty(t, r.said())
}

func TestFollowTakesUpPodsThatComeAndLetsGoOfThoseThatGo(t *testing.T) {
	t.Parallel()
	f := newFake(podOf("a", runs("main", "1")))
	old := f.lives("a/main", "a speaks")
	r := start(t, f, Options{Follow: true, Tail: 1})
	r.comes(t, "a/main a speaks")

	young := f.lives("b/main", "b begins", "b speaks")
	f.events <- event{pod: podOf("b", waits("main", "ContainerCreating"))}
	f.events <- event{pod: podOf("b", runs("main", "2"))}
	r.comes(t, "b/main b speaks")
	require.Contains(t, r.got(), "b/main b begins", "a pod that comes later is read from its start")

	// Of one that goes, the last words are read.
	f.events <- event{pod: podOf("a", runs("main", "1")), gone: true}
	old.write("a says goodbye")
	old.end()
	r.comes(t, "a/main a says goodbye")

	// Its namesake of a StatefulSet is another pod.
	f.lives("a/main", "a is back")
	again := podOf("a", runs("main", "3"))
	again.UID = "another"
	f.events <- event{pod: again}
	r.comes(t, "a/main a is back")

	stranger := podOf("s", runs("main", "9"))
	stranger.OwnerReferences[0].Name, stranger.OwnerReferences[0].UID = "other", "other"
	f.lives("s/main", "not for you")
	f.events <- event{pod: stranger}
	young.write("b speaks on")
	r.comes(t, "b/main b speaks on")
	require.NotContains(t, r.got(), "s/main not for you")
	require.Empty(t, r.said(), "what comes later and has not started yet is nothing to tell")
	r.stop(t)
}

func TestALogThatBreaksOffGoesOnWhereItWas(t *testing.T) {
	t.Parallel()
	f := newFake(podOf("a", runs("main", "1")), podOf("b", runs("main", "2")))
	broken, other := f.lives("a/main", "one", "two"), f.lives("b/main", "one")
	r := start(t, f, Options{Follow: true})
	r.comes(t, "a/main two")
	broken.breakOff()
	other.write("two") // it hangs no other
	r.comes(t, "b/main two")
	require.Eventually(t, func() bool { return r.said() != "" }, waitLimit, waitTick)
	require.Equal(t, "a/main: the connection broke", r.said())
	broken.write("three")
	r.comes(t, "a/main three")
	r.stop(t)
	lines := slices.DeleteFunc(r.got(), func(l string) bool { return l[0] == 'b' })
	require.Equal(t, []string{"a/main one", "a/main two", "a/main three"}, lines, "nothing is lost, and nothing comes twice")
}

// A container that ends is told a little later than its log ends.
func TestAnEndIsReadOnce(t *testing.T) {
	t.Parallel()
	f := newFake(podOf("a", runs("main", "1")))
	only := f.lives("a/main", "one")
	r := start(t, f, Options{Follow: true})
	r.comes(t, "a/main one")
	only.write("last")
	only.end()
	f.events <- event{pod: podOf("a", ended("main", "1"))}
	r.comes(t, "a/main last")
	f.events <- event{pod: podOf("a", ended("main", "1")), gone: true}
	r.stop(t)
	require.Equal(t, []string{"a/main one", "a/main last"}, r.got())
}

func TestFollowWaitsForTheFirstPod(t *testing.T) {
	t.Parallel()
	f := newFake()
	r := start(t, f, Options{Follow: true})
	require.Eventually(t, func() bool { return r.said() == "app has no pods yet" }, waitLimit, waitTick)
	f.lives("a/main", "one")
	f.events <- event{pod: podOf("a", runs("main", "1"))}
	r.comes(t, "a/main one")
	r.stop(t)
}

func TestFollowTellsWhatHasNotStarted(t *testing.T) {
	t.Parallel()
	f := newFake(podOf("a", waits("main", "ImagePullBackOff")))
	r := start(t, f, Options{Follow: true})
	require.Eventually(t, func() bool { return r.said() == "a/main has not started: ImagePullBackOff" }, waitLimit, waitTick)
	f.lives("a/main", "one")
	f.events <- event{pod: podOf("a", runs("main", "1"))}
	r.comes(t, "a/main one")
	r.stop(t)
}

func TestSinceLeavesOutWhatIsOlder(t *testing.T) {
	t.Parallel()
	f := newFake(podOf("a", runs("main", "1")))
	f.lives("a/main", "of another year")
	r := start(t, f, Options{Since: time.Minute})
	require.NoError(t, <-r.ended)
	require.Empty(t, r.got())
	require.WithinDuration(t, time.Now().Add(-time.Minute), f.read[0].Since, 30*time.Second)
}

func TestFollowEndsWhereTheClusterIsLost(t *testing.T) {
	t.Parallel()
	f := newFake(podOf("a", runs("main", "1")))
	f.lives("a/main", "one")
	r := start(t, f, Options{Follow: true})
	r.comes(t, "a/main one")
	f.lost <- errBroken
	err := <-r.ended
	require.ErrorIs(t, err, errBroken)
	require.Equal(t, 1, fault.ExitCode(err))
}

// After a watch ended, a list tells what went in between.
func TestAPodThatALaterListLacksIsGone(t *testing.T) {
	t.Parallel()
	f := newFake(podOf("a", runs("main", "1")))
	f.lives("a/main", "one").end()
	out := &output{each: func(Line) error { return nil }, cancel: func(error) {}}
	reader := &Reader{Cluster: f, Component: theApp()}
	all := &follower{reader: reader, out: out, choice: newChoice(f, theApp()), tails: map[key]*tail{}}
	require.NoError(t, all.all(t.Context(), f.pods))
	require.Len(t, all.tails, 1)
	require.NoError(t, all.all(t.Context(), []corev1.Pod{}))
	require.Empty(t, all.tails)
	all.wg.Wait()
}
