package evidence

import (
	"bytes"
	"context"
	"flag"
	"image"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lifeboat/crypto"
)

var keep = flag.String("keep", "", "directory in which to leave the pages and their pictures, to look at")

const chromium = "/usr/bin/chromium"

// TestBrowser shows the pages in a real browser, which is what an auditor has.
func TestBrowser(t *testing.T) {
	k := newKeys(t, 1, crypto.Writer)
	for _, x := range []struct {
		name, lang, verdict string
		report              *Report
	}{
		{"full-en", English, "✓ PASS", k.full(t)},
		{"full-zh", Chinese, "✓ 通过", k.full(t)},
		{"failed-en", English, "✕ FAIL", k.failed(t)},
		{"small-zh", Chinese, "? 无法判定", k.small(t)},
	} {
		t.Run(x.name, func(t *testing.T) {
			b := newBrowser(t)
			page := filepath.Join(b.dir, x.name+".html")
			must(t, os.WriteFile(page, []byte(render(t, opened(t, k, x.report), x.lang)), 0o644))
			if dom := string(b.run("--dump-dom", "file://"+page)); !strings.Contains(dom, x.verdict) || !strings.Contains(dom, "</html>") {
				t.Errorf("no verdict in what the browser made of the page:\n%.2000s", dom)
			}
			shot := filepath.Join(b.dir, x.name+".png")
			b.run("--hide-scrollbars", "--window-size=900,2400", "--screenshot="+shot, "file://"+page)
			raw, err := os.ReadFile(shot)
			must(t, err)
			picture, err := png.Decode(bytes.NewReader(raw))
			must(t, err)
			looksLikeText(t, picture)
		})
	}
}

// looksLikeText fails where a picture is blank, or dark: ink covers some of a page of text, and little of it.
func looksLikeText(t *testing.T, picture image.Image) {
	t.Helper()
	size := picture.Bounds().Size()
	if size.X != 900 || size.Y < 1000 {
		t.Fatalf("the picture is of %v", size)
	}
	dark, colours := 0, map[[3]uint32]bool{}
	for y := range size.Y {
		for x := range size.X {
			r, g, b, _ := picture.At(x, y).RGBA()
			colours[[3]uint32{r, g, b}] = true
			if r+g+b < 3*0x8000 {
				dark++
			}
		}
	}
	if share := float64(dark) / float64(size.X*size.Y); share < 0.005 || share > 0.4 || len(colours) < 50 {
		t.Errorf("%.2f %% of the picture is dark, in %d colours: that is no page of text", 100*share, len(colours))
	}
}

type browser struct {
	t   *testing.T
	dir string // for files
}

func newBrowser(t *testing.T) *browser {
	t.Helper()
	if _, err := os.Stat(chromium); err != nil {
		t.Fatalf("%v: run scripts/setup", err)
	}
	if *keep != "" {
		return &browser{t: t, dir: *keep}
	}
	return &browser{t: t, dir: t.TempDir()}
}

// run starts a browser that has never run before and returns its output. Its profile is not below dir: parts of it may outlive the browser by a moment.
func (b *browser) run(args ...string) []byte {
	b.t.Helper()
	profile, err := os.MkdirTemp("", "lifeboat-browser-")
	must(b.t, err)
	defer func() {
		for range 50 {
			if err = os.RemoveAll(profile); err == nil {
				return
			}
			time.Sleep(100 * time.Millisecond)
		}
		b.t.Error(err)
	}()
	ctx, cancel := context.WithTimeout(b.t.Context(), 2*time.Minute)
	defer cancel()
	var out, said bytes.Buffer
	c := exec.CommandContext(ctx, chromium, append([]string{"--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--user-data-dir=" + profile}, args...)...)
	c.Env = append(os.Environ(), "HOME="+profile, "XDG_CONFIG_HOME="+profile, "XDG_CACHE_HOME="+profile)
	c.Stdout, c.Stderr, c.WaitDelay = &out, &said, 5*time.Second
	if err := c.Run(); err != nil {
		b.t.Fatalf("%s: %v\n%s", chromium, err, said.String())
	}
	return out.Bytes()
}
