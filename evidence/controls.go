package evidence

// control is a clause in both languages.
type control struct {
	framework, clause string
	about             message
	fields            []string // of a report, as in its JSON
}

// controls say for which clauses a report is evidence, and with what of it. Whether an organisation complies is for its auditors, who look at more than
// this; so the texts say what a clause is about, and nothing about whether it is met.
var controls = []control{
	{"ISO/IEC 27001:2022", "A.8.13", message{
		"Backup copies are maintained, and tested regularly as a policy says.",
		"按照备份策略维护备份副本，并定期测试。"},
		[]string{"policy", "trigger", "backup.copies", "checks", "result", "trend"}},
	{"SOC 2 (TSC 2017)", "A1.2", message{
		"Backup processes and the infrastructure for recovery are operated and monitored.",
		"运行并监控备份流程与恢复基础设施。"},
		[]string{"policy", "backup.copies", "host", "findings"}},
	{"SOC 2 (TSC 2017)", "A1.3", message{
		"Recovery procedures are tested, including integrity and completeness of what is restored.",
		"测试恢复程序，包括恢复数据的完整性与齐全性。"},
		[]string{"timeline", "rto", "rpo", "checks", "not_tested", "result"}},
	{"NIST SP 800-53 Rev. 5", "CP-4", message{
		"The contingency plan is tested, results are reviewed, and corrective action is begun.",
		"测试应急计划，评审结果并启动纠正措施。"},
		[]string{"policy", "trigger", "result", "findings"}},
	{"NIST SP 800-53 Rev. 5", "CP-9", message{
		"Backups are made and protected, and tested for reliability and integrity by restoring them.",
		"执行并保护系统备份，通过恢复检验其可靠性与完整性。"},
		[]string{"backup", "point", "checks"}},
	{"NIST SP 800-53 Rev. 5", "CP-10", message{
		"The system is recovered to a known state within the times that were set.",
		"在规定时间内将系统恢复到已知状态。"},
		[]string{"point", "timeline", "rto", "rpo"}},
	{"HIPAA Security Rule", "45 CFR 164.308(a)(7)", message{
		"Contingency plan: data backup, recovery from a disaster, testing and revision; records are kept for six years.",
		"应急计划：数据备份、灾难恢复、测试与修订；记录保存六年。"},
		[]string{"policy", "backup", "checks", "result", "findings", "log"}},
	{"PCI DSS v4", "12.10.1", message{
		"The plan for incidents includes recovery of the business and backup of its data.",
		"事件响应计划包含业务恢复与数据备份流程。"},
		[]string{"policy", "rto", "rpo", "result"}},
	{"PCI DSS v4", "10.5.1", message{
		"The history of audit logs is retained and can be analysed.",
		"保留审计日志历史并可供分析。"},
		[]string{"log", "trend"}},
	{"DORA, Regulation (EU) 2022/2554", "Article 12", message{
		"Backup, and restoration on systems that are segregated from the source, with checks of integrity.",
		"备份，以及在与源系统隔离的系统上恢复，并进行完整性检查。"},
		[]string{"isolation", "point", "rto", "rpo", "checks"}},
	{"NIS2, Implementing Regulation (EU) 2024/2690", "Annex 4.2", message{
		"Backup copies with their configuration are tested regularly; results and corrective action are documented.",
		"定期测试备份副本（含配置），记录结果与纠正措施。"},
		[]string{"policy", "backup.copies", "backup.companions", "checks", "findings"}},
	{"GDPR, Regulation (EU) 2016/679", "Article 32(1)(c)", message{
		"Availability of personal data can be restored in a timely manner.",
		"能够及时恢复个人数据的可用性。"},
		[]string{"rto", "rpo", "projection", "result"}},
	{"GDPR, Regulation (EU) 2016/679", "Article 32(1)(d)", message{
		"The effectiveness of the measures is tested and evaluated regularly.",
		"定期测试与评估各项措施的有效性。"},
		[]string{"policy", "checks", "trend", "findings"}},
	{"GB/T 22239-2019", "8.1.4.9", message{
		"Level 3, backup and recovery of data: local backup, backup at another place, results as the strategy says, a recent test of recovery.",
		"第三级“数据备份恢复”：本地备份、异地备份、结果与策略一致、近期恢复测试记录。"},
		[]string{"policy", "backup.copies", "point", "checks", "result"}},
	{"CIS Controls v8", "11.4", message{
		"An isolated instance of recovery data is kept.",
		"维护隔离的恢复数据副本。"},
		[]string{"backup.copies", "isolation"}},
	{"CIS Controls v8", "11.5", message{
		"Recovery of data is tested each quarter or more often.",
		"至少每季度测试一次数据恢复。"},
		[]string{"policy", "checks", "result", "trend"}},
}

// Controls lists the clauses for which a report of a drill is evidence, and which fields of it. That is no claim of compliance.
func Controls() []Control {
	var out []Control
	for _, c := range controls {
		out = append(out, Control{Framework: c.framework, Clause: c.clause, About: c.about.en, Fields: append([]string(nil), c.fields...)})
	}
	return out
}

// aboutIn is what a clause is about in another language; a text that is not ours stays as it is.
func aboutIn(c Control, lang string) string {
	for _, known := range controls {
		if known.framework == c.Framework && known.clause == c.Clause && known.about.en == c.About {
			return known.about.in(lang)
		}
	}
	return c.About
}
