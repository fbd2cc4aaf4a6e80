package evidence

// The languages of a page.
const (
	English = "en"
	Chinese = "zh-CN" // simplified
)

// Languages lists the languages of a page.
func Languages() []string { return []string{English, Chinese} }

// message is a text of ours in each language.
type message struct{ en, zh string }

func (m message) in(lang string) string {
	if lang == Chinese {
		return m.zh
	}
	return m.en
}

// words are the labels and sentences of the page. Where there are verbs of fmt, both languages take the same values in the same order.
var words = map[string]message{
	"title":        {"Restore drill report: %s / %s", "恢复演练报告：%s / %s"},
	"issued":       {"Issued %s. Report %s.", "签发时间 %s，报告编号 %s。"},
	"digest":       {"SHA-256 of the signed envelope:", "签名信封的 SHA-256："},
	"reasons":      {"What did not pass:", "未通过或无法判定的项目："},
	"despite":      {"What did not pass, and does not make the drill fail:", "未通过或无法判定、但不影响总体结论的项目："},
	"rto":          {"Recovery time (RTO)", "恢复时间（RTO）"},
	"rpo":          {"Loss of data (RPO)", "数据丢失窗口（RPO）"},
	"missed point": {"The point that was asked for was not shown to be reached: %s", "未能证实已恢复到所请求的时间点：%s"},
	"first error":  {"The first error, in the words of the engine or the program:", "首条错误信息："},
	"summary failed": {"Snapshot %s of %s (%s) was to be restored from the copy %s to a separate place. It did not get to its point.",
		"原定从副本“%[4]s”将 %[2]s（%[3]s）的快照 %[1]s 恢复到独立位置，但未到达目标时间点。"},
	"point":    {"Point reached", "恢复到的时间点"},
	"yes":      {"yes", "是"},
	"no":       {"no", "否"},
	"verdict":  {"Verdict", "结论"},
	"severity": {"Severity", "严重程度"},
	"untrusted": {"Whose report this is was not verified: nobody gave a fingerprint to compare with. Its own states %s; compare that with the recovery sheet.",
		"尚未核实本报告的来源：打开时未提供可供比对的指纹。报告自述的根密钥指纹为 %s，请与恢复信息表核对。"},
	"summary": {"Snapshot %s of %s (%s) was restored from the copy %s to a separate place, and brought to %s.",
		"已从副本“%[4]s”将 %[2]s（%[3]s）的快照 %[1]s 恢复到独立位置，并推进至 %[5]s。"},
	"summary tier1": {"Snapshot %s of %s (%s) was read from the copy %s, decrypted and verified. It was not restored.",
		"已从副本“%[4]s”读取 %[2]s（%[3]s）的快照 %[1]s，完成解密与校验，未执行恢复。"},
	"target":       {"Target: %s", "目标：%s"},
	"target none":  {"No target was set.", "未设定目标。"},
	"not measured": {"not measured", "未测得"},
	"requested":    {"Requested: %s", "请求：%s"},
	"reached":      {"Position %s, newest transaction %s", "日志位置 %s，最新事务 %s"},
	"gap":          {"Gap: ", "缺口："},
	"projection":   {"Projected for production", "生产环境恢复时间推算"},
	"projection of": {"%s of database and %s of log, from the slowest copy, %s",
		"数据库 %s，日志 %s，按最慢的副本“%s”计"},
	"projection range": {"Between %s and %s. Error of the model on what was measured: %s (%d drills).",
		"区间 %s 至 %s。模型对实测值的误差：%s（%d 次演练）。"},
	"projection none": {"Nothing was measured from which it could be projected.", "没有可供推算的实测数据。"},
	"timeline":        {"Timeline", "阶段时间轴"},
	"timeline none":   {"No phase was reached.", "未进入任何阶段。"},
	"timeline caption": {"From %s to %s. Fetching, decrypting, verifying and writing go on at the same time: they are one phase.",
		"自 %s 至 %s。获取、解密、校验与写入同时进行，计为一个阶段。"},
	"more phases":   {"%d further phases are in the report only.", "另有 %d 个阶段仅见于报告原文。"},
	"trend":         {"Trend", "历次趋势"},
	"trend rto":     {"Recovery time (RTO) of the latest drills", "最近各次演练的恢复时间（RTO）"},
	"trend rpo":     {"Loss of data (RPO) of the latest drills", "最近各次演练的数据丢失窗口（RPO）"},
	"trend caption": {"Filled: passed. Cross: failed. Hollow: inconclusive. The last one is this drill.", "实心：通过；叉号：未通过；空心：无法判定。最后一个为本次演练。"},
	"trend none":    {"There are not two drills of which it was measured.", "实测的演练不足两次。"},
	"trend first":   {"This is the first drill of the source that is on record.", "这是该数据源有记录的首次演练。"},
	"target line":   {"target %s", "目标 %s"},
	"rto line":      {"RTO target %s", "RTO 目标 %s"},
	"checks":        {"Checks", "检查项"},
	"checks none":   {"Nothing was checked.", "未执行任何检查。"},
	"check":         {"Check", "检查"},
	"expected":      {"Expected", "预期"},
	"observed":      {"Observed", "实测"},
	"tables":        {"Tables: %s", "数据表：%s"},
	"table":         {"Table", "数据表"},
	"rows":          {"Rows", "行数"},
	"rows expected": {"Recorded", "基线行数"},
	"difference":    {"Difference", "差异"},
	"content":       {"Digest of the content", "内容摘要值"},
	"sampled":       {"of a sample", "（抽样）"},
	"more tables":   {"%d further tables are in the report only; those that differ are all shown first.", "另有 %d 张表仅见于报告原文；有差异的表优先列出。"},
	"not tested":    {"What was not tested", "未测试的内容"},
	"not tested none": {"The report names nothing. That does not mean that everything was tested.",
		"报告未列出任何项目，但这并不意味着一切均已测试。"},
	"findings":       {"Findings", "发现的问题"},
	"findings none":  {"None.", "无。"},
	"finding":        {"Finding", "问题"},
	"owner":          {"Owner", "负责人"},
	"due":            {"Due", "截止时间"},
	"retest":         {"Retest", "复测"},
	"errors":         {"Errors", "错误信息"},
	"errors none":    {"None.", "无。"},
	"errors caption": {"In the words of the engine and the programs, without secrets.", "来自数据库引擎与程序，已去除敏感信息。"},
}
