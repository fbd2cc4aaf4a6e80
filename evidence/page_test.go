package evidence

import (
	"bytes"
	"fmt"
	"html"
	"regexp"
	"slices"
	"strings"
	"testing"

	"lifeboat/crypto"
	"lifeboat/internal/phrase"
)

func render(t testing.TB, o *Opened, lang string) string {
	t.Helper()
	var b bytes.Buffer
	must(t, Page(&b, o, lang))
	return b.String()
}

func TestPage(t *testing.T) {
	k := newKeys(t, 1, crypto.Writer)
	o := opened(t, k, k.full(t))
	for lang, want := range map[string][]string{
		English: {`<html lang="en">`, "✓ PASS", "Restore drill report: production / crm", "3 min 12 s", "Target: 10 min", "Snapshot 1207 of crm (PostgreSQL 17.6) was restored from the copy vault (Zürich)",
			"2026-11-27 14:30:00Z", "Nobody logged in and worked with it.", "no claim of compliance", "Assertion open-deals", "not reachable since", "RTO target 10 min", "lifeboat drill verify FILE", "8.3 %", "41 GiB"},
		Chinese: {`<html lang="zh-CN">`, "✓ 通过", "恢复演练报告：production / crm", "3 分 12", "目标：10 分钟", "已从副本“vault（Zürich）”将 crm（PostgreSQL 17.6）的快照 1207 恢复到独立位置",
			"没有用户登录并实际操作。", "并不声明符合", "业务断言 open-deals", "回放与启动", "lifeboat drill verify FILE"},
	} {
		page := render(t, o, lang)
		want = append(want, o.Digest, k.fingerprint(t), k.key[:20], "&lt;no such file&gt; &amp; so on", hash("record"), "9f86d081884c7d659a2feaa0c55ad015")
		for _, w := range want {
			if !strings.Contains(page, w) {
				t.Errorf("%s: no %q on the page", lang, w)
			}
		}
		for _, bad := range []string{"<script", "%!", "ZgotmplZ", "http://", "https://", "<no value>", "compliant"} {
			if strings.Contains(page, bad) {
				t.Errorf("%s: %q is on the page", lang, bad)
			}
		}
	}
}

// TestPageOfHostileReport has texts that would do harm if they were taken for anything but text.
func TestPageOfHostileReport(t *testing.T) {
	k := newKeys(t, 1, crypto.Writer)
	r := k.full(t)
	const bad = `"'><script>alert(1)</script><img src=x onerror=alert(1)>{{.}}</style>` + "\u202e\x1b[31m\u200f"
	r.ID, r.Environment.Name, r.Policy.Source, r.Selection.Mode, r.Isolation.Network = bad, bad, bad, bad, bad
	r.Backup.Copies[0].Target, r.Timeline[0].Name, r.Timeline[0].Note, r.Trend[0].Copy, r.Trend[0].Result = bad, bad, bad, bad, bad
	r.Checks[0].ID, r.Checks[0].Kind, r.Checks[0].SQL, r.Checks[0].Verdict, r.Checks[2].Tables[0].Digest = bad, bad, bad, bad, bad
	r.Controls[0].Fields[0], r.NotTested[0].Text, r.Result = bad, bad, Verdict(bad)
	r.Timeline[1].End, r.Trend[1].RTO, r.RTO.Target, r.Backup.Size = r.Timeline[1].Start.AddDate(-2000, 0, 0), 1<<53, 1<<53, -1<<53
	for _, lang := range Languages() {
		page := render(t, opened(t, k, r), lang)
		for _, x := range []string{"<script", "<img", "onerror=alert(1)>", "ZgotmplZ", "NaN", "Inf", "\u202e", "\u200f", "\x1b"} {
			if strings.Contains(strings.ReplaceAll(page, "onerror=alert(1)&gt;", ""), x) {
				t.Errorf("%s: %q is on the page", lang, x)
			}
		}
		if !strings.Contains(page, `<section class="verdict inconclusive"`) {
			t.Errorf("%s: a verdict that is not known counts as something else than inconclusive", lang)
		}
	}
	var b bytes.Buffer
	if err := Page(&b, opened(t, k, r), "tlh"); err == nil {
		t.Error("a page in a language that there is not")
	}
}

// TestPageOfLargeReport is bounded, and shows what differs first.
func TestPageOfLargeReport(t *testing.T) {
	k := newKeys(t, 1, crypto.Writer)
	r := k.full(t)
	for i := range 5000 {
		r.Checks[2].Tables = append(r.Checks[2].Tables, Table{Name: fmt.Sprintf("public.t%d", i), Rows: 1, Expected: ptr[int64](1), Exact: true})
		r.Timeline = append(r.Timeline, r.Timeline[2])
	}
	r.Checks[2].Tables[5003].Rows = 3
	page := render(t, opened(t, k, r), English)
	first, last := strings.Index(page, "public.t4999"), strings.Index(page, "public.t0<")
	if len(page) > 300_000 || first < 0 || first > last || !strings.Contains(page, "4604 further tables") || !strings.Contains(page, "4967 further phases") {
		t.Errorf("%d bytes, the table that differs at %d, one that does not at %d", len(page), first, last)
	}
}

func TestPageSaysWhoseReport(t *testing.T) {
	k := newKeys(t, 1, "drill-1")
	o, err := Open(sign(t, k, k.failed(t)), "")
	must(t, err)
	page := render(t, o, English)
	for _, w := range []string{"was not verified", "It did not get to its point", "not shown to be reached: latest", "There is no", "The first error", "first drill of the source"} {
		if strings.Contains(page, w) == (w == "There is no") {
			t.Errorf("%q is on the page, or is not", w)
		}
	}
	if strings.Contains(render(t, opened(t, k, k.failed(t)), English), "was not verified") {
		t.Error("a report whose root is trusted says that it is not")
	}
}

func TestDurations(t *testing.T) {
	for ms, want := range map[int64][2]string{
		0: {"0 s", "0 秒"}, 7: {"7 ms", "7 毫秒"}, 9_999: {"9.9 s", "9.9 秒"}, 59_999: {"59.9 s", "59.9 秒"}, 60_000: {"1 min", "1 分钟"}, 192_200: {"3 min 12 s", "3 分 12 秒"},
		3_600_000: {"1 h", "1 小时"}, 7_500_000: {"2 h 5 min", "2 小时 5 分钟"}, 90_000_000: {"1 d 1 h", "1 天 1 小时"}, -1500: {"-1.5 s", "-1.5 秒"},
	} {
		if en, zh := language(English).duration(ms), language(Chinese).duration(ms); en != want[0] || zh != want[1] {
			t.Errorf("%d ms: %q and %q, want %q", ms, en, zh, want)
		}
	}
}

var english = regexp.MustCompile(`<span lang="en">([^<]*)</span>`)

// TestPageSpeaksChinese leaves in English, and marks, what is not ours; and what a statement selected stays as it is, even if it reads like ours.
func TestPageSpeaksChinese(t *testing.T) {
	k := newKeys(t, 1, crypto.Writer)
	r := k.full(t)
	r.Checks[0].Why = phrase.NotWithin.Say("2s", "ERROR: canceled <by> request")
	page := render(t, opened(t, k, r), Chinese)
	var marked []string
	for _, m := range english.FindAllStringSubmatch(page, -1) {
		marked = append(marked, html.UnescapeString(m[1]))
	}
	// The first error also stands below the verdict of a drill that did not pass.
	if want := []string{"ERROR: canceled <by> request", r.Errors[1], r.Selection.Excluded[0].Reason}; !slices.Equal(marked, want) {
		t.Errorf("marked as English: %q, want %q", marked, want)
	}
	for _, want := range []string{"自打开副本起，至引擎可响应查询为止", "未在 2s 内结束：<span", "演练被人为中止", "等于 0，不大于 5</td><td>no faults</td>", "lifeboat drill run crm-gold --from tape",
		"从 tape 恢复（12 次演练）：4s，另加每 230 MiB 数据 1 秒", "2026-11-02T00:00:00.000Z 至 2026-11-03T00:00:00.000Z：日志已按保留策略删除"} {
		if !strings.Contains(page, want) {
			t.Errorf("no %q on the page", want)
		}
	}
	if page := render(t, opened(t, k, r), English); strings.Contains(page, "<span lang") || !strings.Contains(page, r.RTO.How) {
		t.Error("the page in English is not as the report has it")
	}
}
