package evidence

// limits are what a drill may leave untested, by code. A drill lists those that hold for it: what it is silent about would count as tested.
var limits = map[string]message{
	"application": {"The CRM application itself was not started.", "未启动 CRM 应用程序本身。"},
	"users":       {"Nobody logged in and worked with it.", "没有用户登录并实际操作。"},
	"other-copies": {"Only the copy named here was read; the others were not restored from.",
		"仅从本报告所列副本恢复，未从其他副本恢复。"},
	"other-points": {"Only the point named here was restored to; other points in time were not.",
		"仅恢复到本报告所列时间点，未恢复到其他时间点。"},
	"production-hardware": {"It ran on the machine named here, not on the hardware on which production would be restored.",
		"演练在本报告所列主机上运行，而非生产恢复时将使用的硬件。"},
	"network-path": {"The network between the copies and the place where production would be restored was not part of it.",
		"未涉及各副本与生产恢复地点之间的网络路径。"},
	"companions": {"Files beside the database (attachments, configuration, keys) were not restored with it.",
		"未随数据库一并恢复其旁的文件（附件、配置、密钥）。"},
	"sampling": {"The contents of large tables were compared in part only: a sample of their rows.",
		"大表内容仅抽样比对部分行。"},
	"baseline": {"There was nothing recorded to compare the tables with: rows and contents were only read.",
		"没有可供比对的基线记录：各表的行数与内容仅作读取。"},
	"canary": {"No row that was written into production right before the snapshot was looked for: the snapshot has none.",
		"快照中没有创建前写入生产库的探针记录，因此未予查找。"},
	"foreign": {"What the database reads from other servers (foreign tables, dblink) was cut off and not tested.",
		"数据库从其他服务器读取的内容（外部表、dblink）已被切断，未予测试。"},
	"performance": {"How fast the restored database answers was not measured.",
		"未测量恢复后数据库的响应性能。"},
	"start": {"The database was not started: the backup was verified, and nothing more.",
		"未启动数据库：仅校验了备份。"},
	"queries": {"The database was asked nothing: its contents were not looked at.",
		"未向数据库执行查询：未检查其内容。"},
}

// Limits are the limits of these codes, in their order. A code that is not known is its own text.
func Limits(codes ...string) []Limit {
	out := make([]Limit, 0, len(codes))
	for _, c := range codes {
		text := limits[c].en
		if text == "" {
			text = c
		}
		out = append(out, Limit{Code: c, Text: text})
	}
	return out
}

// limitIn is a limit in another language. Its text stays where it says something else than its code does.
func limitIn(l Limit, lang string) string {
	if known, ok := limits[l.Code]; ok && known.en == l.Text {
		return known.in(lang)
	}
	return l.Text
}
