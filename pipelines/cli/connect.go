package cli

import (
	"cmp"
	"fmt"
	"net"
	"strings"

	"github.com/spf13/cobra"

	"syncline/deploy/embedded"
)

// ConnectInfo is what another program needs to connect. Passwords are masked
// unless they were asked for.
type ConnectInfo struct {
	Brokers     []string       `json:"brokers"`
	RegistryURL string         `json:"registry_url"`
	ClickHouse  ClickHouseInfo `json:"clickhouse"`
}

// ClickHouseInfo is the part of it about ClickHouse.
type ClickHouseInfo struct {
	URL      string        `json:"url"`
	Database string        `json:"database"`
	JDBC     string        `json:"jdbc"` // without user and password, which have fields of their own
	Users    []ConnectUser `json:"users"`
}

// ConnectUser is a login.
type ConnectUser struct {
	Name     string `json:"name"`
	Password string `json:"password"`
	May      string `json:"may"`
}

func (a *app) connectInfoCommand() *cobra.Command {
	var show bool
	c := &cobra.Command{
		Use: "connect-info", GroupID: "understand", Short: "Print addresses and logins for other programs", Args: cobra.NoArgs,
		Long: `Prints where Kafka, the schema registry and ClickHouse are, the database, the
users, and lines to paste for clients, JDBC and Grafana. Passwords are masked
without --show-password; no other command prints any.`,
		RunE: func(*cobra.Command, []string) error {
			if err := a.followPlatform(); err != nil {
				return err
			}
			info := a.connectInfo(show)
			text := ""
			if a.format != "json" {
				text = info.text(a.reader != nil)
			}
			return a.answer("connect-info", text, info)
		},
	}
	c.Flags().BoolVar(&show, "show-password", false, "print the passwords too")
	return c
}

func (a *app) connectInfo(show bool) ConnectInfo {
	s := &a.settings
	info := ConnectInfo{Brokers: s.Brokers, RegistryURL: s.RegistryURL, ClickHouse: ClickHouseInfo{
		URL: "http://" + s.ClickHouse, Database: s.Database, JDBC: "jdbc:clickhouse:http://" + s.ClickHouse + "/" + s.Database,
	}}
	add := func(l embedded.Login, may string) {
		u := ConnectUser{Name: l.Name, Password: Secret(l.Password).String(), May: may}
		if show {
			u.Password = l.Password
		}
		info.ClickHouse.Users = append(info.ClickHouse.Users, u)
	}
	if a.reader != nil {
		add(*a.reader, "read")
	}
	add(embedded.Login{Name: cmp.Or(s.ClickHouseUser, "default"), Password: string(s.ClickHousePassword)}, "write: what the pipelines use")
	return info
}

// text has lines to paste. own says that ClickHouse is the embedded one, which
// speaks HTTP only.
func (i ConnectInfo) text(own bool) string {
	c := i.ClickHouse
	var b strings.Builder
	fmt.Fprintf(&b, "Kafka            %s\nschema registry  %s\nClickHouse       %s (HTTP), database %s\n", i.Brokers[0], i.RegistryURL, c.URL, c.Database)
	for _, u := range c.Users {
		fmt.Fprintf(&b, "  user %s  password %s  may %s\n", u.Name, u.Password, u.May)
	}
	address := strings.TrimPrefix(c.URL, "http://")
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		host, port = address, "8123"
	}
	reader := c.Users[0].Name
	fmt.Fprintf(&b, `
curl     curl --user %s '%s/?database=%s' --data-binary 'SELECT count() FROM deals'
JDBC     %s (user %s)
Grafana  ClickHouse data source: server %s, port %s, protocol HTTP, user %s, database %s
`, reader, c.URL, c.Database, c.JDBC, reader, host, port, reader, c.Database)
	if own {
		b.WriteString("clickhouse-client speaks the native protocol only, which the embedded ClickHouse has none of: use curl, or `syncline query`.")
	} else {
		fmt.Fprintf(&b, "client   clickhouse-client --host %s --user %s --database %s", host, reader, c.Database)
	}
	return b.String()
}
