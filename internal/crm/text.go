package crm

import (
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// The words are our own, written for this generator.
var (
	firstNames = strings.Fields(`Ada Amir Anja Bao Bela Carla Chen Dario Dina Edda Emre Farah Felix Gita Goran Hana Hugo Ines
		Ivo Jana Jun Kamal Kira Lars Lena Malik Mara Nils Noor Olga Omar Petra Quentin Rana Rui Sana Sven Tara Timo Uma
		Viktor Wanda Xenia Yara Yusuf Zeno Zora`)
	lastNames = strings.Fields(`Abendroth Alvarez Baptiste Becker Castell Dahl Demir Ekdal Farrow Fontana Grimaldi Haddad Holm
		Ibarra Ivanova Jansen Kaplan Kowalski Lindqvist Lorenz Marchetti Mbeki Nakata Novak Okafor Oduya Petrov Quiroga
		Rahman Rossi Sato Schuster Tanaka Thorsen Ueda Valdez Vogt Weiland Wong Yilmaz Zhang Zimmer`)
	cities = strings.Fields(`Aarhus Antwerp Bergen Bilbao Brno Chengdu Cork Dresden Fukuoka Gdansk Ghent Graz Hangzhou Izmir
		Kaunas Leeds Linz Lyon Malmo Nantes Ningbo Oulu Porto Riga Split Suzhou Tampere Trieste Utrecht Xiamen`)
	industries = strings.Fields(`logistics machinery packaging software retail textiles catering insurance printing
		chemicals automotive furniture optics shipping energy education healthcare construction`)
	forms      = strings.Fields(`GmbH Ltd Oy AB SA BV Inc KG Partners Holding Works Systems`)
	stages     = strings.Fields(`new qualified demo proposal negotiation won lost`)
	kinds      = strings.Fields(`call email meeting note task visit`)
	jobs       = strings.Fields(`buyer director engineer controller assistant owner planner manager accountant`)
	mediaTypes = []string{"application/pdf", "text/plain", "text/csv"}
	vocabulary = strings.Fields(`the to and we of for a they in is on with that will our you be it their about this was has not
		next week order price offer call meeting contract delivery team customer please asked sent send agreed waiting
		reply quote discount invoice payment budget quarter project manager office machine sample shipment schedule
		renewal licence support ticket question answer problem solved open closed new old version update review draft
		signed approval legal purchase department supplier competitor feature request demo trial workshop training
		visit Monday Tuesday Wednesday Thursday Friday morning afternoon deadline before after until since because
		although however therefore maybe certainly probably urgent important interested satisfied unhappy delayed
		confirmed cancelled moved planned expected received forwarded prepared checked compared calculated installed
		replaced returned repaired warehouse transport customs pallet container spare part maintenance agreement volume
		annual monthly weekly daily target forecast pipeline margin reference partner branch subsidiary headquarters
		technician engineer director assistant procurement logistics production quality certificate audit inspection
		measurement drawing specification requirement interface import export data file report table figure page
		summary attachment signature letter copy original template German Dutch Polish Spanish French Chinese Turkish
		summer winter spring autumn holiday fair booth brochure catalogue newsletter campaign lead contact address phone
		number mobile website form login account password server system backup restore test plan step phase start end
		first second third last previous following current additional remaining total partial full half double single
		large small high low fast slow early late good bad better worse best cheap expensive reliable flexible simple
		difficult possible impossible available missing correct wrong clear unclear ready pending active inactive`)
	epoch = time.Date(2023, 1, 2, 8, 0, 0, 0, time.UTC)
)

// author writes text: everything it yields depends on the generator alone.
type author struct {
	rng *rand.Rand
	buf []byte
}

func newAuthor(seed uint64) *author { return &author{rng: rand.New(rand.NewPCG(seed, 0x6c696665))} }

func (a *author) pick(list []string) string { return list[a.rng.IntN(len(list))] }

// word prefers the front of the vocabulary, as people do.
func (a *author) word() string {
	f := a.rng.Float64()
	return vocabulary[int(f*f*float64(len(vocabulary)))]
}

// prose appends at least n bytes of sentences with the odd number, amount and name.
func (a *author) prose(dst []byte, n int) []byte {
	for end := len(dst) + n; len(dst) < end; {
		words := 5 + a.rng.IntN(12)
		for i := range words {
			switch a.rng.IntN(14) {
			case 0:
				dst = strconv.AppendInt(dst, int64(a.rng.IntN(90000)), 10)
			case 1:
				dst = append(dst, a.pick(lastNames)...)
			default:
				w := a.word()
				if i == 0 && w[0] >= 'a' {
					dst = append(append(dst, w[0]-'a'+'A'), w[1:]...)
				} else {
					dst = append(dst, w...)
				}
			}
			dst = append(dst, ' ')
		}
		dst[len(dst)-1] = '.'
		dst = append(dst, ' ')
	}
	return dst
}

// text is prose of between low and high bytes.
func (a *author) text(low, high int) string {
	a.buf = a.prose(a.buf[:0], low+a.rng.IntN(high-low))
	return string(a.buf)
}

func (a *author) company() string {
	return a.pick(lastNames) + " " + a.pick(industries) + " " + a.pick(forms)
}

func (a *author) phone() string {
	return "+" + strconv.Itoa(30+a.rng.IntN(60)) + " " + strconv.Itoa(1000000+a.rng.IntN(89999999))
}

func (a *author) when() string {
	return epoch.Add(time.Duration(a.rng.IntN(3*365*24*60)) * time.Minute).Format("2006-01-02 15:04:05")
}

// blob is an attachment: incompressible like a photo, prose like a letter, or rows like a spreadsheet.
func (a *author) blob(kind, n int) []byte {
	out := make([]byte, 0, n+256)
	switch kind {
	case 0:
		for len(out) < n {
			v := a.rng.Uint64()
			out = append(out, byte(v), byte(v>>8), byte(v>>16), byte(v>>24), byte(v>>32), byte(v>>40), byte(v>>48), byte(v>>56))
		}
	case 1:
		out = a.prose(out, n)
	default:
		for row := 0; len(out) < n; row++ {
			out = strconv.AppendInt(out, int64(row), 10)
			out = append(append(out, ';'), a.pick(cities)...)
			out = append(out, ';')
			out = strconv.AppendInt(out, int64(a.rng.IntN(1000000)), 10)
			out = append(append(out, ';'), a.word()...)
			out = append(out, '\n')
		}
	}
	return out[:n]
}
