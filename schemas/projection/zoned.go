package projection

import "math/bits"

// ParseTime reads an ISO-8601 time with its distance from UTC, as java.time's
// ISO_OFFSET_DATE_TIME and databases write it: 2026-11-22T10:15:30.123456Z, the
// T may be a blank, the fraction has up to nine digits or is not there, the
// offset is Z, ±hh, ±hhmm, ±hh:mm or ±hh:mm:ss, a year of more than four digits
// or below zero has its sign. It returns microseconds since 1970-01-01 UTC,
// rounded down; the error is ErrBadTime or ErrRange.
func ParseTime(s []byte) (int64, error) {
	p := timeText{s: s, ok: true}
	day := p.day()
	if !p.take(' ') && !p.take('t') {
		p.expect('T')
	}
	hour := p.digits(2)
	p.expect(':')
	minute := p.digits(2)
	var second, nanos int64
	if p.take(':') {
		second = p.digits(2)
		if p.take('.') {
			nanos = p.fraction()
		}
	}
	offset := p.offset()
	if !p.ok || len(p.s) != 0 || hour > 23 || minute > 59 || second > 59 {
		return 0, ErrBadTime
	}
	micros, ok := microsOf(day*86400+hour*3600+minute*60+second-offset, nanos/1000)
	if !ok {
		return 0, ErrRange
	}
	return micros, nil
}

// ParseDate reads 2026-11-22, also with a Z behind it, as days since 1970-01-01.
// Where the time of day follows, the time has its zone and the day is that of
// UTC, as for any other time.
func ParseDate(s []byte) (int64, bool) {
	p := timeText{s: s, ok: true}
	day := p.day()
	if p.ok && (len(p.s) == 0 || string(p.s) == "Z") {
		return day, true
	}
	micros, err := ParseTime(s)
	if day = micros / 86_400_000_000; micros%86_400_000_000 < 0 {
		day--
	}
	return day, err == nil
}

// day reads a date as days since 1970-01-01.
func (p *timeText) day() int64 {
	year := p.year()
	p.expect('-')
	month := p.digits(2)
	p.expect('-')
	day := p.digits(2)
	if !p.ok || month < 1 || month > 12 || day < 1 || day > daysIn(year, month) {
		p.ok = false
		return 0
	}
	return daysFromCivil(year, month, day)
}

// microsOf is seconds*1e6+micros, or false if that does not fit.
func microsOf(seconds, micros int64) (int64, bool) {
	negative := seconds < 0
	magnitude := uint64(seconds)
	if negative {
		magnitude = -magnitude
	}
	hi, lo := bits.Mul64(magnitude, 1_000_000)
	if hi != 0 || lo >= 1<<63 {
		return 0, false
	}
	x := int64(lo)
	if negative {
		x = -x
	}
	sum := x + micros // micros is never negative
	return sum, sum >= x
}

type timeText struct {
	s  []byte
	ok bool
}

func (p *timeText) take(c byte) bool {
	if len(p.s) > 0 && p.s[0] == c {
		p.s = p.s[1:]
		return true
	}
	return false
}

func (p *timeText) expect(c byte) {
	if !p.take(c) {
		p.ok = false
	}
}

// digits reads exactly n digits.
func (p *timeText) digits(n int) int64 {
	if len(p.s) < n {
		p.ok = false
		return 0
	}
	var x int64
	for _, c := range p.s[:n] {
		if c < '0' || c > '9' {
			p.ok = false
			return 0
		}
		x = x*10 + int64(c-'0')
	}
	p.s = p.s[n:]
	return x
}

func (p *timeText) run() int {
	n := 0
	for n < len(p.s) && p.s[n] >= '0' && p.s[n] <= '9' {
		n++
	}
	return n
}

func (p *timeText) year() int64 {
	sign, signed := int64(1), false
	if p.take('-') {
		sign, signed = -1, true
	} else if p.take('+') {
		signed = true
	}
	n := p.run()
	if n < 4 || n > 4 && (!signed || n > 9) {
		p.ok = false
		return 0
	}
	return sign * p.digits(n)
}

// fraction reads one to nine digits after the point as nanoseconds.
func (p *timeText) fraction() int64 {
	n := p.run()
	if n < 1 || n > 9 {
		p.ok = false
		return 0
	}
	x := p.digits(n)
	for ; n < 9; n++ {
		x *= 10
	}
	return x
}

// offset reads the distance from UTC in seconds, at most 18 hours.
func (p *timeText) offset() int64 {
	if p.take('Z') || p.take('z') {
		return 0
	}
	sign := int64(1)
	if p.take('-') {
		sign = -1
	} else {
		p.expect('+')
	}
	hours := p.digits(2)
	var minutes, seconds int64
	if p.take(':') || len(p.s) > 0 {
		minutes = p.digits(2)
		if p.take(':') {
			seconds = p.digits(2)
		}
	}
	total := hours*3600 + minutes*60 + seconds
	if minutes > 59 || seconds > 59 || total > 18*3600 {
		p.ok = false
	}
	return sign * total
}

func daysIn(year, month int64) int64 {
	switch month {
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	case 4, 6, 9, 11:
		return 30
	default:
		return 31
	}
}

// daysFromCivil counts days from 1970-01-01 in the proleptic Gregorian
// calendar. The year is taken to start in March, so that a leap day is its
// last.
func daysFromCivil(year, month, day int64) int64 {
	if month <= 2 {
		year--
		month += 12
	}
	era := year / 400
	if year%400 < 0 {
		era--
	}
	inEra := year - era*400
	inYear := (153*(month-3)+2)/5 + day - 1
	return era*146097 + inEra*365 + inEra/4 - inEra/100 + inYear - 719468
}
