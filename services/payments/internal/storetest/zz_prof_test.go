package storetest
import ("testing";"os";"os/exec";"fmt";"github.com/armlet-pay/armlet/platform/sqldb")
func TestZZProf(t *testing.T){
 psql:=func(q string)string{o,_:=exec.Command("/usr/lib/postgresql/15/bin/psql","-q","-h","127.0.0.1","-p","54391","-U","postgres","-c",q).CombinedOutput();return string(o)}
 psql("drop database if exists prof with (force)"); psql("create database prof"); psql("create extension pg_stat_statements")
 db,err:=sqldb.Open(t.Context(),"postgres://postgres@127.0.0.1:54391/prof?sslmode=disable"); must(t,err)
 l,p,shop:=benchLedger(t,db)
 for _,c:=range []string{"spread","hot"} {
 psql("select pg_stat_statements_reset()")
 to:=p[5000:]; if c=="hot"{to=[]string{shop}}
 fmt.Println(c,drive(t,l,p[:5000],to,256,60000))
 fmt.Println(psql("select calls,(total_exec_time)::int tot,(total_exec_time/calls)::numeric(8,2) per,(total_plan_time)::int plan, (rows/calls) rows, left(regexp_replace(query,'\\s+',' ','g'),70) q from pg_stat_statements order by total_exec_time desc limit 10"))
 }
 if os.Getenv("SOUND")!=""{sound(t,l)}
}
